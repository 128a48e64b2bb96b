namespace Vivarium.Translation;

/// <summary>How a translator works; the defaults are for production.</summary>
public sealed record TranslationOptions
{
    /// <summary>Most guest instructions in one superblock (1..64).</summary>
    public int BlockLimit { get; init; } = 32;

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

    /// <summary>Write /tmp/perf-PID.map so that Linux perf names translated blocks.</summary>
    public bool PerfMap { get; init; }

    /// <summary>The defaults, changed by VIV_PERF_MAP=1 and VIV_BLOCK_LIMIT=N: for whoever profiles the translator.</summary>
    public static TranslationOptions FromEnvironment()
    {
        string? limit = Environment.GetEnvironmentVariable("VIV_BLOCK_LIMIT");
        return new TranslationOptions
        {
            PerfMap = Environment.GetEnvironmentVariable("VIV_PERF_MAP") == "1",
            BlockLimit = int.TryParse(limit, out int n) && n is >= 1 and <= 64 ? n : 32,
        };
    }
}

/// <summary>Prints host code.</summary>
public delegate string DisassembleCode(ReadOnlySpan<byte> code, ulong hostAddress);
