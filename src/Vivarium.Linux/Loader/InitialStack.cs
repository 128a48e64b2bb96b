using System.Buffers.Binary;
using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Memory;

namespace Vivarium.Linux.Loader;

/// <summary>AT_* keys of the auxiliary vector.</summary>
public static class Aux
{
    public const ulong Null = 0, ProgramHeaders = 3, ProgramHeaderSize = 4, ProgramHeaderCount = 5, PageSize = 6, Base = 7, Flags = 8, Entry = 9,
        Uid = 11, EffectiveUid = 12, Gid = 13, EffectiveGid = 14, HardwareCapabilities = 16, ClockTicks = 17, Secure = 23, Random = 25,
        ExecutableName = 31, VdsoHeader = 33, MinimumSignalStack = 51;

    /// <summary>HWCAP of riscv64: one bit per single-letter extension, here I, M, A, F, D and C.</summary>
    public const ulong Capabilities = 1UL << ('I' - 'A') | 1UL << ('M' - 'A') | 1UL << 0 | 1UL << ('F' - 'A') | 1UL << ('D' - 'A') | 1UL << ('C' - 'A');
}

/// <summary>Builds what a new program finds on its stack: strings, auxiliary vector, environment, arguments, argc.</summary>
public static class InitialStack
{
    /// <summary>Maps the stack at its full size (pages cost nothing until touched); its top address. The page below it stays unmapped.</summary>
    public static void Map(AddressSpace memory, ulong size, bool executable)
    {
        size = Math.Clamp(AddressSpace.RoundUp(size), 128 << 10, 1UL << 30);
        var protection = Protection.Read | Protection.Write | (executable ? Protection.Execute : 0);
        long start = memory.Map(memory.StackTop - size, size, protection,
            MapFlags.Private | MapFlags.Anonymous | MapFlags.Fixed | MapFlags.NoReserve | MapFlags.Stack, null, 0, "[stack]");
        if (start < 0) throw LoadException.Of((int)start, "the stack cannot be mapped");
    }

    /// <summary>Fills the stack.</summary>
    /// <param name="memory">Where.</param>
    /// <param name="arguments">argv as bytes in Latin-1 strings.</param>
    /// <param name="environment">envp likewise.</param>
    /// <param name="executableName">AT_EXECFN.</param>
    /// <param name="auxiliary">Key/value pairs; AT_RANDOM, AT_EXECFN and AT_NULL are added here.</param>
    /// <param name="auxiliaryBytes">The finished vector.</param>
    /// <returns>The stack pointer, 16-byte aligned, at argc.</returns>
    public static ulong Fill(AddressSpace memory, IReadOnlyList<string> arguments, IReadOnlyList<string> environment, string executableName,
        List<(ulong Key, ulong Value)> auxiliary, out byte[] auxiliaryBytes)
    {
        long total = executableName.Length + 1;
        foreach (string s in arguments) total += s.Length + 9;
        foreach (string s in environment) total += s.Length + 9;
        if (total > 2 << 20) throw LoadException.Of(-Errno.E2BIG);

        ulong at = memory.StackTop - 8;
        ulong PushString(string text)
        {
            byte[] bytes = new byte[text.Length + 1];
            Encoding.Latin1.GetBytes(text, bytes);
            at -= (ulong)bytes.Length;
            Store(memory.Window, at, bytes);
            return at;
        }

        ulong name = PushString(executableName);
        ulong[] environmentPointers = new ulong[environment.Count];
        for (int i = environment.Count - 1; i >= 0; i--) environmentPointers[i] = PushString(environment[i]);
        ulong[] argumentPointers = new ulong[arguments.Count];
        for (int i = arguments.Count - 1; i >= 0; i--) argumentPointers[i] = PushString(arguments[i]);
        at = (at & ~15UL) - 16;
        // By the kernel and not by System.Security.Cryptography, which would load OpenSSL into every start.
        if (!memory.Window.TryGetHostAddress(at, 16, out long random) || HostSyscall.Invoke(GetRandom, random, 16) != 16) throw LoadException.Of(-Errno.E2BIG);

        auxiliary.Add((Aux.Random, at));
        auxiliary.Add((Aux.ExecutableName, name));
        auxiliary.Add((Aux.Null, 0));
        int words = 1 + arguments.Count + 1 + environment.Count + 1;
        ulong sp = (at - (ulong)(words * 8 + auxiliary.Count * 16)) & ~15UL;
        byte[] block = new byte[words * 8 + auxiliary.Count * 16];
        int position = 0;
        void Word(ulong value)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(block.AsSpan(position), value);
            position += 8;
        }
        Word((ulong)arguments.Count);
        foreach (ulong pointer in argumentPointers) Word(pointer);
        Word(0);
        foreach (ulong pointer in environmentPointers) Word(pointer);
        Word(0);
        int auxiliaryStart = position;
        foreach (var (key, value) in auxiliary)
        {
            Word(key);
            Word(value);
        }
        Store(memory.Window, sp, block);
        auxiliaryBytes = block[auxiliaryStart..];
        return sp;
    }

    private const long GetRandom = 318;

    private static void Store(MemoryWindow window, ulong address, ReadOnlySpan<byte> bytes)
    {
        if (!window.TryWriteBytes(address, bytes)) throw LoadException.Of(-Errno.E2BIG);
    }
}
