using System.Collections.Concurrent;
using Vivarium.Host;
using Vivarium.Linux.Loader;
using Vivarium.Linux.Memory;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Threads;
using Vivarium.Linux.Tracing;
using Vivarium.Linux.Vfs;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux;

/// <summary>A root file system with all its guest processes: owns whatever they share. Several live side by side in one host process.</summary>
/// <remarks>Thread-safe.</remarks>
public sealed partial class Realm : IDisposable
{
    private readonly ConcurrentDictionary<ulong, int> _unimplemented = new();
    private int _lastTid;

    public Realm(RunOptions options)
    {
        Options = options;
        Errors = options.Errors ?? Console.Error;
        Syscalls = SyscallTable.Default;
        Executors = new ExecutorFactory(options);
        Terminals = new Terminals.TerminalTable(this);
        AsyncFiles = new AsyncFiles(this);
        if (options.MemoryLimit is { } limit) MemoryWatch = new MemoryWatch(this, limit);
        if (options.Strace != null) Trace = new Strace(options.Strace, Syscalls);
    }

    public RunOptions Options { get; }

    /// <summary>What sethostname and setdomainname set and uname tells.</summary>
    internal string HostName { get; set; } = Environment.MachineName is { Length: < 65 } host ? host : "viv";

    /// <inheritdoc cref="HostName"/>
    internal string DomainName { get; set; } = "(none)";

    /// <summary>What was written to files of /proc/sys that are kept and told only.</summary>
    internal ConcurrentDictionary<string, string> Settings { get; } = new();

    /// <summary>Where one-line reports for people go.</summary>
    public TextWriter Errors { get; }

    public SyscallTable Syscalls { get; }

    /// <summary>The log of syscalls, if one is kept.</summary>
    internal Strace? Trace { get; }

    /// <summary>Enforces the limit on memory, if there is one.</summary>
    internal MemoryWatch? MemoryWatch { get; }

    /// <summary>Whether the process may have one thread more, or one child: the realm's limit and RLIMIT_NPROC, which does not bind root.</summary>
    internal bool MayClone(GuestProcess process)
    {
        if (Options.ProcessLimit is { } most && Threads.Count >= most) return false;
        ulong limit = process.Limits.Soft(ResourceLimits.Processes);
        uint uid = process.Credentials.Uid;
        if (limit == ulong.MaxValue || uid == 0 || process.Credentials.EffectiveUid == 0) return true;
        return (ulong)Threads.Values.Count(thread => thread.Process.Credentials.Uid == uid) < limit;
    }

    /// <summary>Makes the executors of address spaces.</summary>
    internal ExecutorFactory Executors { get; }

    /// <summary>Load addresses of libraries.</summary>
    public LibraryPlacement Libraries { get; } = new();

    /// <summary>Host threads for guest threads.</summary>
    internal GuestThreadPool HostThreads { get; } = new();

    internal PidFds PidFds { get; } = new();

    /// <summary>System V inter-process communication.</summary>
    internal Ipc.SystemV Ipc { get; } = new();

    /// <summary>POSIX message queues.</summary>
    internal Ipc.PosixQueues PosixQueues { get; } = new();

    /// <summary>How much memory guests have.</summary>
    internal ResidentMeter Meter { get; } = new();

    /// <summary>Pseudo-terminals that guests opened.</summary>
    internal Terminals.TerminalTable Terminals { get; }

    /// <summary>Files that signal when they become ready.</summary>
    internal AsyncFiles AsyncFiles { get; }

    /// <summary>Call-backs in time.</summary>
    internal Time.TimerThread Timers { get; } = new();

    /// <summary>Living and zombie processes by pid.</summary>
    public ConcurrentDictionary<int, GuestProcess> Processes { get; } = new();

    /// <summary>All living threads by tid (a process's first thread has its pid).</summary>
    public ConcurrentDictionary<int, GuestThread> Threads { get; } = new();

    /// <summary>CLOCK_MONOTONIC nanoseconds of the realm's start.</summary>
    public long StartTime { get; } = GuestThread.MonotonicNow();

    /// <summary>Next process or thread number.</summary>
    public int AllocateTid()
    {
        for (;;)
        {
            int tid = Interlocked.Increment(ref _lastTid) & 0x3fffff;
            if (tid != 0 && !Processes.ContainsKey(tid) && !Threads.ContainsKey(tid)) return tid;
        }
    }

    /// <summary>An empty address space with its executor.</summary>
    public AddressSpace CreateAddressSpace()
    {
        var window = MemoryWindow.Reserve(Options.AddressSpace);
        return new AddressSpace(window, Executors.Create(), Libraries) { LargestMapping = Options.MemoryLimit ?? ulong.MaxValue, Meter = Meter };
    }

    /// <summary>Starts the first process and runs it to its end; the shell's exit status.</summary>
    internal int RunInitial(RunOptions options)
    {
        GuestProcess process;
        GuestThread thread;
        try
        {
            var fs = FsContext.Create(options.Tree());
            (process, thread) = Start(options, fs);
        }
        catch (LoadException error)
        {
            Errors.WriteLine($"viv: cannot run '{options.Program}': {error.Message}");
            return error.ShellStatus;
        }
        catch (IOException error)
        {
            Errors.WriteLine($"viv: {error.Message}");
            return 125;
        }
        using (new HostSignalForwarder(process)) 
        {
            thread.Run();
            process.WaitUntilEnded();
        }
        KillAll();
        process.Fs.Space.Dispose();
        PosixQueues.Dispose();
        Executors.SaveTranslations();
        ReportUnimplemented();
        if (options.Stats)
        {
            var rows = Executors.StatisticsRows();
            if (options.StatsAsJson) Errors.WriteLine("{" + string.Join(", ", rows.Select(row => $"\"{row.Name}\": {row.Value}")) + "}");
            else foreach ((string name, long value) in rows) Errors.WriteLine($"viv: {name}: {value}");
        }
        int status = process.WaitStatus;
        return (status & 0x7f) != 0 ? 128 + (status & 0x7f) : status >> 8 & 0xff;
    }

    private (GuestProcess Process, GuestThread Thread) Start(RunOptions options, FsContext fs)
    {
        string program0 = Locate(fs, options);
        using var prepared = ProgramLoader.Prepare(fs, ToLatin1(program0), options.Arguments.Select(ToLatin1).ToList());
        var environment = options.Environment.Select(ToLatin1).ToList();
        var credentials = options.User == null && fs.Space.Confined ? Credentials.Of(0, 0) : ParseUser(options.User);
        var limits = ResourceLimits.FromHost();
        var memory = CreateAddressSpace();
        var program = ProgramLoader.Load(prepared, memory, environment, ToLatin1(program0), credentials, limits);
        int pid = AllocateTid();
        var process = new GuestProcess
        {
            Realm = this, Pid = pid, ProcessGroup = pid, Session = pid, Memory = memory, Files = FileTable.CreateWithStandardStreams(), Fs = fs,
            Credentials = credentials, Limits = limits,
        };
        process.SetImage(program, environment);
        memory.Limits = limits;
        Processes[pid] = process;
        var thread = new GuestThread { Process = process, Hart = new Hart(memory.Window), Tid = pid, Name = process.Name };
        thread.Hart.Pc = program.EntryPoint;
        thread.Hart[2] = program.StackPointer;
        process.AddThread(thread);
        return (process, thread);
    }

    // As execvp of a shell: the first directory of PATH that has an executable file of that name.
    private static string Locate(FsContext fs, RunOptions options)
    {
        if (options.Program.Contains('/') || options.SearchPath == null) return options.Program;
        foreach (string directory in options.SearchPath.Split(':'))
        {
            string candidate = (directory.Length == 0 ? "." : directory) + "/" + options.Program;
            int descriptor = fs.OpenExecutable(System.Text.Encoding.UTF8.GetBytes(candidate), out _);
            if (descriptor < 0) continue;
            HostSyscall.Invoke(3 /* close */, descriptor);
            return candidate;
        }
        throw new LoadException(Errno.ENOENT, "not found in the guest's PATH");
    }

    /// <summary>Strings of the host as bytes in Latin-1 characters: what guest strings are inside the personality.</summary>
    internal static string ToLatin1(string text)
    {
        foreach (char c in text)
        {
            if (c > 127) return System.Text.Encoding.Latin1.GetString(System.Text.Encoding.UTF8.GetBytes(text));
        }
        return text;
    }

    private static Credentials ParseUser(string? user)
    {
        if (user == null) return Credentials.FromHost();
        string[] parts = user.Split(':', 2);
        if (parts[0] == "root") parts[0] = "0";
        if (!uint.TryParse(parts[0], out uint uid)) throw new LoadException(Errno.EINVAL, $"user '{user}' is not a number");
        uint gid = uid;
        if (parts.Length > 1 && !uint.TryParse(parts[1], out gid)) throw new LoadException(Errno.EINVAL, $"group '{parts[1]}' is not a number");
        return Credentials.Of(uid, gid);
    }

    /// <summary>A syscall that we do not have: ENOSYS, and a line at the end.</summary>
    internal long Unimplemented(ulong number)
    {
        _unimplemented.AddOrUpdate(number, 1, (_, count) => count + 1);
        return -Errno.ENOSYS;
    }

    private void ReportUnimplemented()
    {
        if (_unimplemented.IsEmpty || (Options.Strace == null && !Options.Stats)) return;
        var names = _unimplemented.OrderBy(pair => pair.Key).Select(pair => $"{SyscallNames.Name(pair.Key)} ({pair.Value}x)");
        (Options.Strace ?? Errors).WriteLine($"viv: {_unimplemented.Count} unimplemented syscalls: {string.Join(", ", names)}");
    }

    /// <summary>Sends to one thread; false where its queue is full.</summary>
    public bool SendToThread(GuestThread thread, in SigInfo info) => thread.Process.Queue(thread, info);

    /// <summary>Sends to a process; false where its queue is full.</summary>
    public bool SendToProcess(GuestProcess process, in SigInfo info) => process.Queue(null, info);

    private void KillAll()
    {
        foreach (var process in Processes.Values)
        {
            if (process.HasEnded) continue;
            process.BeginExit(Signal.SIGKILL);
        }
        foreach (var process in Processes.Values) process.WaitUntilEnded();
    }

    public void Dispose()
    {
        MemoryWatch?.Dispose();
        Meter.Dispose();
        Timers.Dispose();
        AsyncFiles.Dispose();
        HostThreads.Dispose();
    }
}
