using System.Globalization;
using Vivarium.Host;
using Vivarium.Linux;
using Vivarium.Translation.Optimizing;

namespace Vivarium.Cli;

/// <summary>One option of <c>viv run</c>.</summary>
/// <param name="Name">With its dashes.</param>
/// <param name="ValueName">What help calls the value; null for a switch.</param>
/// <param name="Help">One line.</param>
/// <param name="Apply">Stores the value (empty for a switch); returns what is wrong with it, or null.</param>
internal sealed record RunOption(string Name, string? ValueName, string Help, Func<RunRequest, string, string?> Apply)
{
    /// <summary>The value may be left out; if given, then only as <c>--name=value</c>.</summary>
    public bool ValueIsOptional { get; init; }

    /// <summary>The values there are, for completion; null where anything goes.</summary>
    public string[]? Values { get; init; }
}

/// <summary>The command line of <c>viv run</c>: options up to the program, whose arguments are the guest's alone.</summary>
internal static class RunCommandLine
{
    /// <summary>All options: the one list behind parsing, help and completion.</summary>
    public static RunOption[] Options { get; } =
    [
        new("--root", "DIR", "Show this host directory to the guest as /", (r, v) => Set(() => r.Root = v)),
        new("--image", "NAME", "Show the tree of this image as /", (r, v) => Set(() => r.Image = v)),
        new("--overlay", null, "Leave the tree of --root as it is: changes last for this run (--image always does that)", (r, _) => Set(() => r.Overlay = true)),
        new("--upper", "DIR", "Keep the changes of the tree in this directory, and find those of earlier runs there", (r, v) => Set(() => r.Upper = v)),
        new("--read-only", null, "Refuse changes of the tree; volumes and tmpfs take theirs", (r, _) => Set(() => r.ReadOnly = true)),
        new("--volume", "HOST:GUEST[:ro]", "Show a file or directory of the host at a guest path", AddVolume),
        new("--tmpfs", "DIR[:size=SIZE]", "Mount memory on this guest directory", AddTemporary),
        new("--store", "DIR", "Image store (default: $VIV_STORE, else ~/.local/share/vivarium)", (r, v) => Set(() => r.Store = v)),
        new("--env", "NAME[=VALUE]", "Set a variable of the guest; without a value, hand on the host's", AddEnvironment),
        new("--workdir", "DIR", "Initial working directory, as the guest sees it", (r, v) => Set(() => r.WorkingDirectory = v)),
        new("--user", "USER", "uid[:gid] or a name in the guest's /etc/passwd", (r, v) => Set(() => r.User = v)),
        new("--memory", "SIZE", "Memory of all guest processes together, for instance 512M; the largest is killed when it is used up", (r, v) => SetSize(v, "--memory", size => r.Memory = size)),
        new("--address-space", "SIZE", "Address space of each guest process, from 256G (default, Sv39) to 16T: for sanitizers and race detectors", SetAddressSpace) { Values = ["256G", "1T", "16T"] },
        new("--net", "host|none", "The host's network, or none", SetNetwork) { Values = ["host", "none"] },
        new("--pids", "N", "Processes and threads that the guest may have at a time", SetPids),
        new("--strace", "FILE", "Log the guest's syscalls to FILE (default: standard error)", (r, v) => Set(() => (r.Strace, r.StraceFile) = (true, v.Length > 0 ? v : null)))
        {
            ValueIsOptional = true,
        },
        new("--tier", "interp|1|2", "Execute with the reference interpreter, the tier-1 translator, or that and the optimising tier", SetTier) { Values = ["interp", "1", "2"] },
        new("--jit-policy", "POLICY", "Order of optimisation: fifo, heat-at-dispatch or continuous (default)", SetPolicy) { Values = ["fifo", "heat-at-dispatch", "continuous"] },
        new("--jit-threads", "N", "Threads that optimise (0: on the guest's own, at once)", (r, v) => SetCount(v, "--jit-threads", 0, 64, n => r.JitThreads = n)),
        new("--jit-threshold", "N", "Samples (milliseconds) of a block that make it hot", (r, v) => SetCount(v, "--jit-threshold", 1, 1_000_000, n => r.JitThreshold = n)),
        new("--jit-affinity", "CPULIST", "Processors for those threads, for instance 2-3 (default: all that viv may use)", SetAffinity),
        new("--stats", null, "Print statistics of the run to standard error at its end", (r, _) => Set(() => r.Stats = true)),
        new("--json", null, "Print the statistics as one line of JSON", (r, _) => Set(() => (r.Stats, r.Json) = (true, true))),
        new("--dump", "STAGES", "Dump stages to standard error: ir, asm; of the optimising tier region, llvm, asm", SetDump) { Values = ["ir", "asm", "ir,asm", "region", "llvm"] },
        new("--dump-range", "START-END", "Guest addresses (hexadecimal) that --dump shows", SetDumpRange),
        new("--code-cache", "SIZE", "Bound of the code cache, for instance 64M", SetCodeCacheSize),
        new("--cache", "DIR", "Keep translations here and use earlier runs' (default: ~/.cache/vivarium/translations)", (r, v) => Set(() => (r.TranslationCache, r.NoTranslationCache) = (v, false))),
        new("--no-cache", null, "Neither use nor keep translations of other runs", (r, _) => Set(() => r.NoTranslationCache = true)),
        new("--strict-memory", null, "Check every guest address: no wild pointer meets another guest or the host", (r, _) => Set(() => r.StrictMemory = true)),
        new("--perf-map", null, "Write /tmp/perf-PID.map, so that perf names guest functions", (r, _) => Set(() => r.PerfMap = true)),
        new("--jitdump", "DIR", "Write DIR/jit-PID.dump for perf inject --jit: guest functions with their code", (r, v) => Set(() => r.JitDump = v)),
    ];

    /// <summary>Whether help is asked for before the guest's part begins.</summary>
    public static bool AsksForHelp(ReadOnlySpan<string> arguments)
    {
        foreach (var argument in arguments)
        {
            if (argument is "--help" or "-h" or "-?")
                return true;
            if (!argument.StartsWith('-') || argument == "--")
                return false;
        }

        return false;
    }

    /// <summary>Parses what follows <c>run</c>.</summary>
    /// <returns>Null, or what is wrong.</returns>
    public static string? Parse(ReadOnlySpan<string> arguments, RunRequest request)
    {
        int i = 0;
        for (; i < arguments.Length && arguments[i].StartsWith('-') && arguments[i] != "-"; i++)
        {
            string argument = arguments[i];
            if (argument == "--")
            {
                i++;
                break;
            }

            int equals = argument.IndexOf('=');
            string name = equals < 0 ? argument : argument[..equals];
            if (Array.Find(Options, o => o.Name == name) is not { } option)
                return $"unknown option '{name}'; see 'viv run --help'";
            string value = "";
            if (equals >= 0)
            {
                if (option.ValueName is null)
                    return $"{name} takes no value";
                value = argument[(equals + 1)..];
            }
            else if (option.ValueName is not null && !option.ValueIsOptional)
            {
                if (++i == arguments.Length)
                    return $"{name} needs {option.ValueName}";
                value = arguments[i];
            }

            if (option.ValueName is not null && value.Length == 0 && !option.ValueIsOptional)
                return $"{name} needs {option.ValueName}";
            if (option.Apply(request, value) is { } problem)
                return problem;
        }

        request.Command = arguments[i..].ToArray();
        if (request.Root is not null && request.Image is not null)
            return "--root and --image exclude each other";
        if (request.ReadOnly && (request.Overlay || request.Upper is not null))
            return "--read-only leaves nothing for --overlay or --upper to take";
        if (request.Root is null && request.Image is null && (request.Overlay || request.Upper is not null || request.ReadOnly || request.TemporaryDirectories.Count > 0))
            return "--overlay, --upper, --read-only and --tmpfs need --root or --image";
        if (request.Command.Length == 0 && request.Image is null)
            return "no program given; see 'viv run --help'";
        return null;
    }

    /// <summary>Reads <c>START-END</c>, hexadecimal with or without 0x.</summary>
    public static bool TryParseRange(string text, out (ulong Start, ulong End) range)
    {
        range = default;
        int dash = text.IndexOf('-');
        if (dash < 0 || !TryParseAddress(text[..dash], out ulong start) || !TryParseAddress(text[(dash + 1)..], out ulong end) || end <= start)
            return false;
        range = (start, end);
        return true;
    }

    private static bool TryParseAddress(string text, out ulong address) =>
        ulong.TryParse(text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? text.AsSpan(2) : text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out address);

    private static string? Set(Action assign)
    {
        assign();
        return null;
    }

    private static string? AddEnvironment(RunRequest request, string value)
    {
        if (value[0] == '=')
            return $"--env needs NAME[=VALUE], not '{value}'";
        request.Environment.Add(value);
        return null;
    }

    private static string? AddVolume(RunRequest request, string value)
    {
        string[] parts = value.Split(':');
        bool readOnly = parts.Length == 3 && parts[2] == "ro";
        if (parts.Length is < 2 or > 3 || parts[0].Length == 0 || !parts[1].StartsWith('/') || parts.Length == 3 && parts[2] is not ("ro" or "rw"))
            return $"--volume needs HOST:GUEST[:ro] with an absolute guest path, not '{value}'";
        request.Volumes.Add(new Linux.Vfs.Volume(Path.GetFullPath(parts[0]), parts[1], readOnly));
        return null;
    }

    private static string? AddTemporary(RunRequest request, string value)
    {
        if (!value.StartsWith('/') || value.Trim('/').Length == 0)
            return $"--tmpfs needs an absolute guest path, not '{value}'";
        request.TemporaryDirectories.Add(value);
        return null;
    }

    private static string? SetTier(RunRequest request, string value)
    {
        switch (value)
        {
            case "interp":
                request.Executor = ExecutorKind.Interpreter;
                return null;
            case "1" or "2":
                request.Executor = ExecutorKind.Translator;
                request.Optimize = value == "2";
                return null;
            default:
                return $"--tier is interp, 1 or 2, not '{value}'";
        }
    }

    private static string? SetPolicy(RunRequest request, string value)
    {
        switch (value)
        {
            case "fifo": request.JitPolicy = JitPolicy.Fifo; return null;
            case "heat-at-dispatch": request.JitPolicy = JitPolicy.HeatAtDispatch; return null;
            case "continuous": request.JitPolicy = JitPolicy.Continuous; return null;
            default: return $"--jit-policy is fifo, heat-at-dispatch or continuous, not '{value}'";
        }
    }

    private static string? SetAffinity(RunRequest request, string value)
    {
        if (ProcessorList.TryParse(value) is not { } list)
            return $"--jit-affinity needs a list of processors such as 0,2-3, not '{value}'";
        if (ProcessorList.Online is { Count: > 0 } online && list.FirstOrDefault(n => !online.Contains(n), -1) is >= 0 and int absent)
            return $"--jit-affinity names processor {absent}, which this machine does not have";
        request.JitAffinity = list;
        return null;
    }

    private static string? SetCount(string value, string option, int least, int most, Action<int> assign)
    {
        if (!int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int n) || n < least || n > most)
            return $"{option} needs a number from {least} to {most}, not '{value}'";
        assign(n);
        return null;
    }

    private static string? SetDump(RunRequest request, string value)
    {
        foreach (string stage in value.Split(','))
        {
            if (stage is not ("ir" or "asm" or "region" or "llvm"))
                return $"--dump takes ir, asm, region and llvm, not '{stage}'";
            request.Dump.Add(stage);
        }

        return null;
    }

    private static string? SetDumpRange(RunRequest request, string value)
    {
        if (!TryParseRange(value, out var range))
            return $"--dump-range needs START-END in hexadecimal, not '{value}'";
        request.DumpRange = range;
        return null;
    }

    private static string? SetAddressSpace(RunRequest request, string value)
    {
        string? problem = SetSize(value, "--address-space", size => request.AddressSpace = size);
        return problem ?? (request.AddressSpace is < 256L << 30 or > 16L << 40 || request.AddressSpace % (2 << 20) != 0 ? $"--address-space: '{value}' is not between 256G and 16T" : null);
    }

    private static string? SetCodeCacheSize(RunRequest request, string value) => SetSize(value, "--code-cache", size => request.CodeCacheSize = size);

    private static string? SetNetwork(RunRequest request, string value)
    {
        if (value is not ("host" or "none"))
            return $"--net is host or none, not '{value}'";
        request.NoNetwork = value == "none";
        return null;
    }

    private static string? SetPids(RunRequest request, string value)
    {
        if (!int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count <= 0)
            return $"--pids needs a number above 0, not '{value}'";
        request.Pids = count;
        return null;
    }

    private static string? SetSize(string value, string option, Action<long> assign)
    {
        int shift = char.ToUpperInvariant(value[^1]) switch { 'K' => 10, 'M' => 20, 'G' => 30, 'T' => 40, _ => 0 };
        if (!long.TryParse(shift == 0 ? value : value[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out long size) || size <= 0 || size > long.MaxValue >> shift)
            return $"{option} needs a size such as 64M, not '{value}'";
        assign(size << shift);
        return null;
    }
}
