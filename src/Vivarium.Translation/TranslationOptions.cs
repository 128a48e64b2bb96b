using Vivarium.Translation.Profiling;

namespace Vivarium.Translation;

/// <summary>How a translator works; the defaults are for production.</summary>
public sealed record TranslationOptions
{
    /// <summary>Most guest instructions in one superblock (1..64).</summary>
    public int BlockLimit { get; init; } = 32;

    /// <summary>How often a block runs as the quick path made it before the full pipeline makes it anew (<see cref="int.MaxValue"/>: for ever); 0 is without the
    /// quick path. Strict memory is, and so are machines and code that the persistent cache keeps.</summary>
    public int QuickRuns { get; init; } = 1000;

    /// <summary>Check that guest addresses lie in the memory window, where nothing else makes sure of it. Without, an address more than 4 GiB outside
    /// traps unless the host happens to have memory there.</summary>
    public bool StrictMemory { get; init; }

    /// <summary>Machines: code is interpreted where control gets to it the first time, and translated the second. Much of a boot's code runs once.</summary>
    public bool InterpretFirst { get; init; }

    /// <summary>Most bytes of code that a machine keeps; what is oldest goes where it is full. Processes get their cache from their realm.</summary>
    public ulong MachineCacheSize { get; init; } = 512UL << 20;

    /// <summary>Check the IR after every pass (tests do).</summary>
    public bool Validate { get; init; }

    /// <summary>Where dumps of blocks whose entry lies in [DumpStart, DumpEnd) go; null for none.</summary>
    public Action<string>? DumpSink { get; init; }
    public ulong DumpStart { get; init; }
    public ulong DumpEnd { get; init; } = ulong.MaxValue;

    /// <summary>Include the IR in dumps.</summary>
    public bool DumpIr { get; init; } = true;

    /// <summary>Turns emitted bytes (at the host address) into text for dumps; null dumps no code.</summary>
    public DisassembleCode? Disassemble { get; init; }

    /// <summary>The optimising tier's compilers; null for tier 1 alone. Its owner disposes it after the engines.</summary>
    public Optimizing.CompileFarm? Farm { get; init; }

    /// <summary>Write /tmp/perf-PID.map so that Linux perf names translated blocks.</summary>
    public bool PerfMap { get; init; }

    /// <summary>Where names and bytes of translated blocks are written for <c>perf inject --jit</c>; null for nowhere. Whoever made it disposes of it.</summary>
    public JitDump? JitDump { get; init; }

    /// <summary>The defaults, changed by VIV_PERF_MAP=1, VIV_BLOCK_LIMIT=N, VIV_QUICK=N (runs of a quick block; 0 for none) and VIV_DUMP=START-END (hexadecimal guest addresses; IR and the
    /// code's bytes go to standard error): for whoever profiles the translator.</summary>
    public static TranslationOptions FromEnvironment()
    {
        string? limit = Environment.GetEnvironmentVariable("VIV_BLOCK_LIMIT");
        string[] range = Environment.GetEnvironmentVariable("VIV_DUMP")?.Split('-') ?? [];
        bool dump = range.Length == 2;
        return new TranslationOptions
        {
            DumpSink = dump ? Console.Error.WriteLine : null,
            DumpStart = dump ? Convert.ToUInt64(range[0], 16) : 0,
            DumpEnd = dump ? Convert.ToUInt64(range[1], 16) : 0,
            Disassemble = (code, address) => $"code {address:x} {Convert.ToHexString(code)}\n",
            PerfMap = Environment.GetEnvironmentVariable("VIV_PERF_MAP") == "1",
            QuickRuns = int.TryParse(Environment.GetEnvironmentVariable("VIV_QUICK"), out int runs) && runs >= 0 ? runs : new TranslationOptions().QuickRuns,
            BlockLimit = int.TryParse(limit, out int n) && n is >= 1 and <= 64 ? n : 32,
        };
    }
}

/// <summary>Prints host code.</summary>
public delegate string DisassembleCode(ReadOnlySpan<byte> code, ulong hostAddress);
