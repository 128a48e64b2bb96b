using Vivarium.Host;
using Vivarium.Linux.Threads;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux;

// The life of a guest thread: run code, serve syscalls, deliver signals, end.
public sealed partial class GuestThread
{
    private const int FUTEX_WAIT_BITSET_PRIVATE = 9 | 128, FUTEX_WAKE_PRIVATE = 1 | 128, SysFutex = 202;

    private readonly HostBuffer _parking = new(64);
    private ulong _syscallFirstArgument;
    private volatile bool _killed;
    private bool _ended;

    /// <summary>Where 0 is stored and woken when the thread ends (set_tid_address, CLONE_CHILD_CLEARTID); 0 for nowhere.</summary>
    public ulong ClearChildTid { get; set; }

    /// <summary>Head of the robust futex list; 0 for none.</summary>
    public ulong RobustList { get; set; }

    /// <summary>The thread's name (PR_SET_NAME), at most 15 bytes.</summary>
    public string Name { get; set; } = "";

    /// <summary>Number of the syscall in progress or last made, for reports.</summary>
    public int LastSyscall { get; private set; }

    /// <summary>What a tracer learns of the end of this thread alone.</summary>
    internal int ExitStatus { get; set; }

    internal bool IsEnding => _killed || Process.IsExiting;

    /// <summary>Ends this thread alone, at its next chance to look. From any thread.</summary>
    internal void Kill()
    {
        _killed = true;
        Nudge();
    }

    /// <summary>Runs the guest thread on the calling host thread until it ends.</summary>
    internal void Run()
    {
        _cpuAtStart = Time.Clocks.Now(Time.Clocks.ThreadCpu);
        _systemAtStart = Time.CpuTimes.OfCurrentThread().System;
        Volatile.Write(ref _hostThread, HostThread.Current);
        HostThread!.ClearKick();
        Interlocked.MemoryBarrier();
        Hart.RequestExit();
        try
        {
            Loop();
        }
        catch (Exception error)
        {
            // A bug of ours must end in the guest's death, not in the host's.
            Process.Realm.Errors.WriteLine($"viv: {Process.Name}: internal error in syscall {LastSyscall} at pc 0x{Hart.Pc:x}: {error}");
            Process.BeginExit(Signals.Signal.SIGSYS);
        }
        End();
    }

    private void Loop()
    {
        var executor = Process.Memory.Executor;
        while (true)
        {
            if (Volatile.Read(ref Hart.State.ExitRequest) != 0)
            {
                HandleWork(0);
                if (IsEnding) return;
            }
            var exit = executor.Run(Hart);
            if (exit.Kind != ExitKind.Trap) continue;
            if (exit.Cause == TrapCause.EnvironmentCall)
            {
                HandleSyscall();
                if (IsEnding) return;
                executor = Process.Memory.Executor;
            }
            else
            {
                HandleFault(exit);
            }
        }
    }

    private void HandleSyscall()
    {
        if (Tracee is { } tracee)
        {
            HandleTracedSyscall(tracee);
            return;
        }
        var hart = Hart;
        ulong number = hart[17];
        ulong first = hart[10];
        hart.Pc += 4;
        LastSyscall = (int)number;
        _syscallFirstArgument = first;
        var args = new SyscallArgs(first, hart[11], hart[12], hart[13], hart[14], hart[15]);
        var realm = Process.Realm;
        long result;
        if (realm.Trace is { } trace)
        {
            result = trace.Call(this, number, args);
        }
        else
        {
            var handler = realm.Syscalls.Find(number);
            result = handler != null ? handler(this, args) : realm.Unimplemented(number);
        }
        if (result < -511 && result >= -Errno.ERESTARTNOHAND && number != 139)
        {
            HandleWork((int)-result);
            return;
        }
        hart[10] = (ulong)result;
        _restartDeadline = 0;
        if (_restoreMask) RestoreMask();
    }

    /// <summary>Sleeps until <see cref="Unpark"/>, a kick (-EINTR) or the deadline (-ETIMEDOUT; CLOCK_MONOTONIC nanoseconds).</summary>
    internal long Park(long deadline = long.MaxValue)
    {
        ref int word = ref _parking.At<int>(0);
        if (Interlocked.Exchange(ref word, 0) != 0) return 0;
        long timeout = 0;
        if (deadline != long.MaxValue)
        {
            _parking.At<Timespec>(16) = Timespec.FromNanoseconds(Math.Max(deadline, 0));
            timeout = _parking.Address + 16;
        }
        long result = HostThread!.BlockingSyscall(SysFutex, _parking.Address, FUTEX_WAIT_BITSET_PRIVATE, 0, timeout, 0, 0xffffffff);
        return Interlocked.Exchange(ref word, 0) != 0 ? 0 : result;
    }

    /// <summary>Ends a present or the next <see cref="Park"/>. From any thread.</summary>
    internal void Unpark()
    {
        Volatile.Write(ref _parking.At<int>(0), 1);
        HostSyscall.Invoke(SysFutex, _parking.Address, FUTEX_WAKE_PRIVATE, 1);
    }

    /// <summary>exit: what the thread leaves behind.</summary>
    private void End()
    {
        TraceEnd();
        if (Process.Tracees.Count > 0) Process.ReleaseTracees(this);
        // After exit_group or a fatal signal nobody of this process looks any more, but shared memory may have other users.
        Futex.ReleaseRobustList(this);
        if (ClearChildTid != 0 && Window.TryStore32(ClearChildTid, 0)) Futex.Wake(Window, ClearChildTid, 1);
        lock (Process.Sync)
        {
            _ended = true;
            Process.Realm.Threads.TryRemove(Tid, out _);
            Process.AddCpuTimeOfEndedThread(this);
        }
        if (Tid != Process.Pid) Process.TracedThreadEnded(this, Process.IsExiting ? Process.WaitStatus : ExitStatus);
        bool last = Process.RemoveThread(this);
        Hart.Dispose();
        if (last) Process.Finish();
    }

    /// <summary>execve: fresh registers in a new address space.</summary>
    internal void StartImage(Memory.AddressSpace memory, Loader.LoadedProgram program)
    {
        Hart.SwitchMemory(memory.Window);
        ref var state = ref Hart.State;
        for (int i = 1; i < 32; i++) Hart[i] = 0;
        Signals.SignalFrame.ClearFloats(ref state);
        Hart.Pc = program.EntryPoint;
        Hart[2] = program.StackPointer;
        ClearChildTid = 0;
        RobustList = 0;
        AlternateStack = new Signals.SignalStack(0, Signals.SignalStack.SS_DISABLE, 0, 0);
    }

    /// <summary>exit: ends the calling thread when the loop gets control back.</summary>
    internal void ExitThread() => _killed = true;
}
