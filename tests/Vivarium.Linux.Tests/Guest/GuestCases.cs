using System.Diagnostics;

namespace Vivarium.Linux.Tests.Guest;

/// <summary>Runs cases of tests/guest/bin/guest-tests in viv: all of them as children of one guest process, or each in a viv of its own.</summary>
internal static class GuestCases
{
    private static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(60), BatchTimeLimit = TimeSpan.FromMinutes(8);
    private static readonly Lazy<IReadOnlyDictionary<string, (int Status, string Output)>> OnInterpreter = new(() => RunBatch("interp", scale: 2));
    private static readonly Lazy<IReadOnlyDictionary<string, (int Status, string Output)>> OnTranslator = new(() => RunBatch("1", scale: 10));

    // Everything that is seen running once is compiled by LLVM.
    private static readonly Lazy<IReadOnlyDictionary<string, (int Status, string Output)>> OnOptimizer = new(() => RunBatch("2", scale: 20, "--jit-threshold", "1"));

    private static string Repository { get; } = FindRepository();

    private static string Program { get; } = Path.Combine(Repository, "tests/guest/bin/guest-tests");

    // The native binary that ./test publishes, or the framework-dependent build: whichever is newer.
    private static (string File, string[] Arguments) Viv { get; } = FindViv();

    /// <summary>Whether viv starts fast enough to be started for every case.</summary>
    public static bool IsNative => Viv.Arguments.Length == 0;

    /// <summary>Name and expected exit status of every case.</summary>
    public static IReadOnlyDictionary<string, int> All { get; } = List();

    /// <summary>Looks a case up in the run of all cases on a tier, and fails with its output unless it ended with the status it announces.</summary>
    public static void CheckInBatch(string name, string tier)
    {
        var results = (tier switch { "interp" => OnInterpreter, "1" => OnTranslator, _ => OnOptimizer }).Value;
        if (!results.TryGetValue(name, out var result)) Assert.Fail($"{name} on tier {tier} was not reached:\n{results[""].Output}");
        Assert.True(result.Status == All[name], $"{name} on tier {tier} ended with {result.Status}, not {All[name]}:\n{result.Output}");
    }

    /// <summary>Runs one case in a viv of its own.</summary>
    public static void RunAlone(string name, string tier, int scale)
    {
        var (status, output) = Execute(scale, TimeLimit, "run", "--tier", tier, Program, name);
        Assert.True(status == All[name], $"{name} on tier {tier} ended with {status?.ToString() ?? "a time-out"}, not {All[name]}:\n{output}");
    }

    /// <summary>Runs cases as children of one guest process with more options; fails unless every one ended with 0.</summary>
    public static void CheckTogether(string[] options, int scale, params string[] names)
    {
        var (status, output) = Execute(scale, BatchTimeLimit, ["run", .. options, Program, "--each", "45", .. names]);
        Assert.True(status == 0 && names.All(name => output.Contains($"= {name} 0\n", StringComparison.Ordinal)), $"viv ended with {status}:\n{output}");
    }

    private static Dictionary<string, (int, string)> RunBatch(string tier, int scale, params string[] options)
    {
        string[] names = [.. All.Keys.Where(name => KnownFailures.Reason(tier, name) is null)];
        var (status, output) = Execute(scale, BatchTimeLimit, ["run", "--tier", tier, .. options, Program, "--each", "45", .. names]);
        var results = new Dictionary<string, (int, string)>();
        var said = new List<string>();
        foreach (string line in output.Split('\n'))
        {
            if (line.StartsWith("= ", StringComparison.Ordinal))
            {
                string[] words = line.Split(' ');
                results[words[1]] = (int.Parse(words[2]), string.Join('\n', said));
                said.Clear();
            }
            else said.Add(line);
        }

        results[""] = (0, $"viv ended with {status?.ToString() ?? "a time-out"}\n{string.Join('\n', said)}");
        return results;
    }

    private static Dictionary<string, int> List()
    {
        var (status, output) = Execute(100, TimeLimit, "run", "--tier", "interp", Program, "--list");
        if (status != 0) throw new InvalidOperationException($"guest-tests --list ended with {status}: {output}");
        return output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(words => !words.Contains("internal"))
            .ToDictionary(words => words[0], words => words.Where(w => w.StartsWith("exit=", StringComparison.Ordinal)).Select(w => int.Parse(w[5..])).FirstOrDefault());
    }

    // Both streams through one pipe, so that what a case says stands before its result. The umask is set: a thread of this process that
    // has run a guest's calls keeps that guest's, and its children would inherit it.
    private static (int? Status, string Output) Execute(int scale, TimeSpan limit, params string[] arguments)
    {
        var start = new ProcessStartInfo("/bin/sh")
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, WorkingDirectory = Path.GetTempPath(),
        };
        foreach (string argument in (string[])["-c", "umask 022; exec \"$0\" \"$@\" 2>&1", Viv.File, .. Viv.Arguments, .. arguments]) start.ArgumentList.Add(argument);
        start.Environment["GUEST_TESTS_SCALE"] = Environment.GetEnvironmentVariable("GUEST_TESTS_SCALE") ?? scale.ToString();
        var text = new System.Text.StringBuilder();
        void Add(object sender, DataReceivedEventArgs line)
        {
            lock (text) if (line.Data is not null) text.Append(line.Data).Append('\n');
        }

        using var process = new Process { StartInfo = start };
        process.OutputDataReceived += Add;
        process.Start();
        process.BeginOutputReadLine();
        process.StandardInput.Close();
        bool ended = process.WaitForExit(limit);
        if (!ended) process.Kill();
        process.WaitForExit();
        lock (text) return (ended ? process.ExitCode : null, text.ToString());
    }

    private static (string, string[]) FindViv()
    {
        string native = Path.Combine(Repository, "artifacts/publish/Vivarium.Cli/release_linux-x64/viv");
        string managed = Path.Combine(Repository, "artifacts/bin/Vivarium.Cli/release/viv.dll");
        // ./test has just seen to it that the native binary is of these sources, whichever was built first.
        if (Environment.GetEnvironmentVariable("VIV_NATIVE_IS_CURRENT") is not null) return (native, []);
        if (File.Exists(native) && (!File.Exists(managed) || File.GetLastWriteTimeUtc(native) >= NewestManaged(managed))) return (native, []);
        if (File.Exists(managed)) return ("dotnet", [managed]);
        throw new InvalidOperationException("build src/Vivarium.Cli first: neither the native viv nor viv.dll is there");
    }

    private static DateTime NewestManaged(string managed) =>
        Directory.GetFiles(Path.GetDirectoryName(managed)!, "*.dll").Max(File.GetLastWriteTimeUtc);

    private static string FindRepository()
    {
        for (string? directory = AppContext.BaseDirectory; directory is not null; directory = Path.GetDirectoryName(directory))
            if (File.Exists(Path.Combine(directory, "Vivarium.slnx"))) return directory;
        throw new InvalidOperationException("the tests do not run inside the repository");
    }
}

/// <summary>The cases that are expected to pass on a tier.</summary>
internal static class GuestCaseData
{
    public static TheoryData<string> For(string tier, Func<string, bool>? only = null)
    {
        var data = new TheoryData<string>();
        foreach (string name in GuestCases.All.Keys.Order(StringComparer.Ordinal))
            if (KnownFailures.Reason(tier, name) is null && only?.Invoke(name) != false) data.Add(name);
        return data;
    }
}

/// <summary>Every case of guest-tests on the reference interpreter, with small iteration counts.</summary>
public sealed class GuestTestsOnInterpreter
{
    public static TheoryData<string> Cases => GuestCaseData.For("interp");

    [Theory]
    [MemberData(nameof(Cases))]
    public void Passes(string name) => GuestCases.CheckInBatch(name, "interp");
}

/// <summary>Every case of guest-tests on translated code.</summary>
public sealed class GuestTestsOnTranslator
{
    public static TheoryData<string> Cases => GuestCaseData.For("1");

    [Theory]
    [MemberData(nameof(Cases))]
    public void Passes(string name) => GuestCases.CheckInBatch(name, "1");
}

/// <summary>Every case of guest-tests with the optimising tier, which takes whatever was seen running once.</summary>
public sealed class GuestTestsOnOptimizer
{
    public static TheoryData<string> Cases => GuestCaseData.For("2");

    [Theory]
    [MemberData(nameof(Cases))]
    public void Passes(string name) => GuestCases.CheckInBatch(name, "2");
}

/// <summary>Cases whose loops wait, fault, change code or are signalled, with every backward jump compiled at once on the guest's thread.
/// VIV_TIER2=all takes all cases.</summary>
public sealed class GuestTestsInRegions
{
    private static readonly string[] Named =
    [
        "thread_signal_while_spinning", "thread_cancel", "atomic_lr_sc_aba_deterministic", "process_fork_with_threads", "litmus_mp", "litmus_sb", "code_many_functions",
        "code_unmapped_under_a_running_loop", "code_modified_across_threads", "code_changes_its_own_block", "float_exceptions", "float_rounding_modes",
        "signal_in_tight_loop_is_precise", "signal_segv_addresses", "signal_preserves_floating_point", "memory_fault_and_retry", "signal_skip_faulting_instruction",
        "memory_fault_in_hot_loop_is_precise",
    ];

    [Fact]
    public void Pass() => GuestCases.CheckTogether(["--tier", "2", "--jit-threads", "0"], scale: 30,
        Environment.GetEnvironmentVariable("VIV_TIER2") == "all" ? [.. GuestCases.All.Keys.Where(n => GuestCases.All[n] == 0)] : Named);
}

/// <summary>Processes and threads that come and go while code is evicted all the time.</summary>
public sealed class GuestTestsInSmallCodeCache
{
    [Fact]
    public void Pass() => GuestCases.CheckTogether(["--tier", "1", "--code-cache", "1M"], scale: 5,
        "litmus_coherence", "litmus_mp", "process_many", "thread_condition", "litmus_sb", "process_fork_with_threads", "code_many_functions", "litmus_coherence");
}

/// <summary>Cases as the only program of a viv: all of them where the native binary is there, else those about the end of the process.</summary>
public sealed class GuestTestsAlone
{
    public static TheoryData<string> Cases => GuestCaseData.For("1", name => GuestCases.IsNative || GuestCases.All[name] != 0);

    [Theory]
    [MemberData(nameof(Cases))]
    public void Passes(string name) => GuestCases.RunAlone(name, "1", scale: 5);
}
