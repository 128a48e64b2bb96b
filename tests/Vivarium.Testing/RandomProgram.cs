using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Testing;

/// <summary>What a <see cref="RandomProgram"/> may contain. Everything is on by default but what makes comparison harder.</summary>
public sealed record RandomProgramOptions
{
    /// <summary>About how many items (instructions or short idioms) to emit.</summary>
    public int Length { get; init; } = 200;

    public bool Multiply { get; init; } = true;
    public bool BitManipulation { get; init; } = true;
    public bool Memory { get; init; } = true;
    public bool Atomics { get; init; } = true;
    /// <summary>Zacas.</summary>
    public bool CompareAndSwap { get; init; } = true;
    public bool Float { get; init; } = true;
    /// <summary>Zfa.</summary>
    public bool AdditionalFloat { get; init; } = true;
    /// <summary>Forward branches and jumps, calls, and counted loops.</summary>
    public bool Branches { get; init; } = true;
    public bool Compressed { get; init; } = true;
    /// <summary>fflags, frm and fcsr, by all six instructions.</summary>
    public bool ControlStatus { get; init; } = true;
    /// <summary>Fences, pause, cache-block operations, prefetches.</summary>
    public bool CacheAndFences { get; init; } = true;

    /// <summary>Percent of floating-point instructions among the computing ones.</summary>
    public int FloatPercent { get; init; } = 40;

    /// <summary>Also faulting loads, misaligned atomics and illegal instructions, each of which ends the program with its trap.</summary>
    public bool Traps { get; init; }

    /// <summary>Integer computation, memory and control flow only.</summary>
    public static RandomProgramOptions IntegerOnly => new() { Float = false, AdditionalFloat = false, ControlStatus = false };
}

/// <summary>
/// A program made of random valid instructions that ends in <c>ecall</c> (or, with <see cref="RandomProgramOptions.Traps"/>, maybe in
/// another trap), and the state to start it with. The same seed and options make the same program.
/// </summary>
/// <remarks>
/// It runs at most some thousand instructions: branches go forward, loops count down. Loads and stores stay in <see cref="DataStart"/>'s
/// pages; x2 and x9 point to their middle, x18 to the middle of a page of special values, and the program never writes these three.
/// x1 may hold return addresses, x30 and x31 loop counters. Singles mostly live in f0..f15 and doubles in f16..f31.
/// </remarks>
public sealed class RandomProgram
{
    public const ulong CodeStart = 0x0100_0000;
    public const ulong DataStart = 0x0200_0000;
    public const ulong DataSize = 0x2000;
    public const ulong ConstantsStart = 0x0210_0000;
    public const ulong ConstantsSize = 0x1000;

    /// <summary>A window of this size has room for it.</summary>
    public const ulong WindowSize = 0x0400_0000;

    internal RandomProgram(int seed, byte[] code, byte[] data, byte[] constants, ulong[] x, ulong[] f, uint frm, uint fflags)
    {
        (Seed, Code, Data, Constants, X, F, Frm, Fflags) = (seed, code, data, constants, x, f, frm, fflags);
    }

    public int Seed { get; }
    public byte[] Code { get; }
    public byte[] Data { get; }
    public byte[] Constants { get; }
    public ulong[] X { get; }
    public ulong[] F { get; }
    public uint Frm { get; }
    public uint Fflags { get; }

    public static RandomProgram Generate(int seed, RandomProgramOptions? options = null) =>
        new RandomProgramGenerator(seed, options ?? new()).Generate();

    /// <summary>Maps the three areas (room for <paramref name="maxCode"/> bytes of code); once per window.</summary>
    public static void MapAreas(MemoryWindow window, ulong maxCode = 1 << 20)
    {
        Check(window.MapAnonymous(CodeStart, maxCode, Protection.Read | Protection.Write | Protection.Execute));
        Check(window.MapAnonymous(DataStart, DataSize, Protection.Read | Protection.Write));
        Check(window.MapAnonymous(ConstantsStart, ConstantsSize, Protection.Read | Protection.Write));

        static void Check(int result) => Assert.Equal(0, result);
    }

    /// <summary>Writes code, data and constants, and resets the hart to the start. The caller tells its executor that the code changed.</summary>
    public unsafe void Install(MemoryWindow window, Hart hart)
    {
        Assert.Equal(Code.Length, window.Write(CodeStart, Code));
        Assert.Equal(Data.Length, window.Write(DataStart, Data));
        Assert.Equal(Constants.Length, window.Write(ConstantsStart, Constants));
        ref var state = ref hart.State;
        for (var r = 0; r < 32; r++)
        {
            state.X[r] = X[r];
            state.F[r] = F[r];
        }
        state.Pc = CodeStart;
        state.Frm = Frm;
        state.Fflags = Fflags;
        state.ReservationAddress = ulong.MaxValue;
        state.ReservationValue = 0;
        state.ExitRequest = 0;
    }
}
