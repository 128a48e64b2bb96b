namespace Vivarium.Linux.Tests.Guest;

/// <summary>Runs tests/guest/kernel.c, one test per promise of the kernel, on both executors.</summary>
public class KernelPromises
{
    private static readonly string[] s_names =
    [
        "segv_maperr", "segv_accerr", "segv_exec", "bus_eof", "illegal", "breakpoint", "stack_overflow", "mask_and_queue", "timed_wait",
        "suspend_and_alarm", "restart", "reset_hand", "timers", "fast_timer", "sleep_remainder", "thread_signals", "robust", "mutexes", "pi_mutexes",
        "many_threads", "condition_timeout", "fork_memory", "child_signal", "stop_and_continue", "stop_storm", "groups", "spawn", "exec_threads", "orphans",
        "zombie_files", "unshared_table",
        "fork_storm", "broken_pipe", "pidfds", "priorities", "sessions", "remap", "holes", "bad_pointers", "auxv",
    ];

    public static TheoryData<string, ExecutorKind> Cases()
    {
        var cases = new TheoryData<string, ExecutorKind>();
        foreach (string name in s_names)
        {
            cases.Add(name, ExecutorKind.Interpreter);
            cases.Add(name, ExecutorKind.Translator);
        }
        return cases;
    }

    private static int Run(ExecutorKind executor, TextWriter errors, params string[] arguments)
    {
        string program = TestFiles.Path("tests/guest/bin/kernel");
        return ProcessRunner.Run(new RunOptions
        {
            Program = program, Arguments = [program, .. arguments], Environment = ["LANG=C"], Executor = executor, Errors = errors,
        });
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Holds(string name, ExecutorKind executor) => Assert.Equal(0, Run(executor, Console.Error, name));

    [Theory]
    [InlineData(0)]
    [InlineData(23)]
    [InlineData(255)]
    public void ExitCodeIsTheGuests(int code) => Assert.Equal(code, Run(ExecutorKind.Interpreter, Console.Error, "exit", $"{code}"));

    [Theory]
    [InlineData(15)]
    [InlineData(9)]
    [InlineData(6)]
    [InlineData(34)]
    public void DeathBySignalIs128AndTheSignal(int signal) => Assert.Equal(128 + signal, Run(ExecutorKind.Interpreter, TextWriter.Null, "die", $"{signal}"));

    [Fact]
    public void AnAbortIsReportedInOneLine()
    {
        var errors = new StringWriter();
        Assert.Equal(134, Run(ExecutorKind.Interpreter, errors, "die", "6"));
        Assert.StartsWith("viv: kernel: SIGABRT at pc 0x", errors.ToString());
        Assert.Single(errors.ToString().TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public void StraceNamesCallsArgumentsAndResults()
    {
        var log = new StringWriter();
        string program = TestFiles.Path("tests/guest/bin/kernel");
        Assert.Equal(0, ProcessRunner.Run(new RunOptions { Program = program, Arguments = [program, "bad_pointers"], Strace = log, Executor = ExecutorKind.Interpreter }));
        string text = log.ToString();
        Assert.Contains("uname(0x8) = -1 EFAULT", text);
        Assert.Contains("syscall_9999(", text);
        Assert.Contains("viv: 1 unimplemented syscalls: syscall_9999 (1x)", text);
        Assert.Contains("exit_group(0) = ?", text);
    }
}
