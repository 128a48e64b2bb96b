using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Syscalls;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Ptrace;

/// <summary>ptrace, process_vm_readv and process_vm_writev.</summary>
internal static class PtraceSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(117, "ptrace", "hex int ptr ptr", Ptrace),
        new(270, "process_vm_readv", "int ptr uint ptr uint hex", (thread, in args) => Transfer(thread, args, writes: false)),
        new(271, "process_vm_writev", "int ptr uint ptr uint hex", (thread, in args) => Transfer(thread, args, writes: true)),
    ];

    // PTRACE_* of riscv64. There is no single step.
    private const int TraceMe = 0, PeekText = 1, PeekData = 2, PokeText = 4, PokeData = 5, Continue = 7, Kill = 8, Attach = 16, Detach = 17, Syscall = 24,
        SetOptions = 0x4200, GetEventMessage = 0x4201, GetSigInfo = 0x4202, SetSigInfo = 0x4203, GetRegisterSet = 0x4204, SetRegisterSet = 0x4205,
        Seize = 0x4206, Interrupt = 0x4207, Listen = 0x4208, GetSigMask = 0x420a, SetSigMask = 0x420b, GetSyscallInfo = 0x420e;

    private const ulong GeneralRegisters = 1, FloatRegisters = 2; // NT_PRSTATUS, NT_FPREGSET
    private const int GeneralSize = 256, FloatSize = 264;
    private const uint Architecture = 0xC00000F3; // AUDIT_ARCH_RISCV64

    private static long Ptrace(GuestThread thread, in SyscallArgs args)
    {
        int request = (int)args.A0, tid = (int)args.A1;
        var process = thread.Process;
        if (request == TraceMe)
        {
            // The thread that forked is the tracer; another of its process where it has ended.
            if (process.Parent is not { } parent) return -Errno.EPERM;
            var by = process.Realm.Threads.TryGetValue(process.ForkedBy, out var forked) && forked.Process == parent ? forked : parent.Threads().FirstOrDefault();
            return by != null && parent.AddTracee(thread, new Tracee(by, seized: false)) ? 0 : -Errno.EPERM;
        }
        if (!process.Realm.Threads.TryGetValue(tid, out var target)) return -Errno.ESRCH;
        if (request is Attach or Seize) return Begin(thread, target, request == Seize, args);
        var tracee = target.Tracee;
        if (tracee == null || tracee.By != thread) return -Errno.ESRCH;
        switch (request)
        {
            case Kill:
                target.Process.Queue(null, SigInfo.Kernel(Signal.SIGKILL));
                return 0;
            case Interrupt:
                if (!tracee.Seized) return -Errno.EIO;
                lock (tracee.Lock)
                {
                    // In a stop it would only be one more.
                    if (tracee.Stopped && !tracee.Listening) return 0;
                    tracee.Interrupted = true;
                }
                target.Nudge();
                target.Unpark();
                return 0;
        }
        lock (tracee.Lock)
        {
            if (!tracee.Stopped || tracee.Listening) return -Errno.ESRCH;
        }
        return Serve(thread, target, tracee, request, args.A2, args.A3);
    }

    private static long Begin(GuestThread thread, GuestThread target, bool seize, in SyscallArgs args)
    {
        if (target.Process == thread.Process) return -Errno.EPERM;
        var (mine, its) = (thread.Process.Credentials, target.Process.Credentials);
        bool same = mine.Uid == its.Uid && its.Uid == its.EffectiveUid && its.Uid == its.SavedUid && mine.Gid == its.Gid && target.Process.Traits.Dumpable;
        if (mine.EffectiveUid != 0 && !same) return -Errno.EPERM;
        if (seize && (args.A2 != 0 || (args.A3 & ~(ulong)Tracee.AllOptions) != 0)) return -Errno.EIO;
        if (!thread.Process.AddTracee(target, new Tracee(thread, seize) { Options = seize ? (int)args.A3 : 0 })) return -Errno.EPERM;
        if (!seize) thread.Process.Realm.SendToThread(target, SigInfo.From(Signal.SIGSTOP, SigInfo.SI_USER, thread.Process.Pid, mine.Uid));
        // One that its group's stop holds becomes the tracer's to hold.
        target.Nudge();
        target.Unpark();
        return 0;
    }

    private static long Serve(GuestThread thread, GuestThread target, Tracee tracee, int request, ulong address, ulong data)
    {
        var window = thread.Window;
        switch (request)
        {
            case PeekText or PeekData:
            {
                Span<byte> word = stackalloc byte[8];
                return target.Process.Memory.Peek(address, word) != 8 ? -Errno.EIO : window.TryWriteBytes(data, word) ? 0 : -Errno.EFAULT;
            }
            case PokeText or PokeData:
            {
                Span<byte> word = stackalloc byte[8];
                BinaryPrimitives.WriteUInt64LittleEndian(word, data);
                return target.Process.Memory.Poke(address, word) == 8 ? 0 : -Errno.EIO;
            }
            case Continue or Syscall:
                if (data > Signal.Count) return -Errno.EIO;
                lock (tracee.Lock)
                {
                    tracee.Mode = request == Syscall ? TraceMode.Syscall : TraceMode.Continue;
                    tracee.Signal = (int)data;
                    tracee.Stopped = false;
                }
                target.Unpark();
                return 0;
            case Detach:
                if (data > Signal.Count) return -Errno.EIO;
                lock (thread.Process.Realm.Tree) thread.Process.RemoveTracee(target, (int)data);
                return 0;
            case Listen:
                if (!tracee.Seized || (tracee.Status >> 16 & 0xff) != Tracee.EventStop) return -Errno.EIO;
                lock (tracee.Lock) tracee.Listening = true;
                target.Unpark(); // the group's stop may be over already
                return 0;
            case SetOptions:
                if ((data & ~(ulong)Tracee.AllOptions) != 0) return -Errno.EINVAL;
                Volatile.Write(ref tracee.Options, (int)data);
                return 0;
            case GetEventMessage:
                return window.TryStore64(data, tracee.Message) ? 0 : -Errno.EFAULT;
            case GetSigInfo:
                return tracee.Info is not { } info ? -Errno.EINVAL : SignalSyscalls.WriteInfo(thread, data, info) ? 0 : -Errno.EFAULT;
            case SetSigInfo:
                if (tracee.Info == null) return -Errno.EINVAL;
                if (!window.TryRead(data, out SigInfo changed)) return -Errno.EFAULT;
                lock (tracee.Lock) tracee.Info = changed;
                return 0;
            case GetSigMask:
                return address != 8 ? -Errno.EINVAL : window.TryStore64(data, target.SignalMask) ? 0 : -Errno.EFAULT;
            case SetSigMask:
                if (address != 8) return -Errno.EINVAL;
                if (!window.TryLoad64(data, out ulong mask)) return -Errno.EFAULT;
                target.SetSignalMask(mask);
                return 0;
            case GetRegisterSet or SetRegisterSet:
                return RegisterSet(thread, target, request == SetRegisterSet, address, data);
            case GetSyscallInfo:
                return SyscallInfo(thread, target, tracee, address, data);
            default:
                return -Errno.EIO;
        }
    }

    /// <summary>The struct iovec at <paramref name="vector"/> says where and how much; its length becomes what there was.</summary>
    private static long RegisterSet(GuestThread thread, GuestThread target, bool sets, ulong kind, ulong vector)
    {
        var window = thread.Window;
        if (!window.TryLoad64(vector, out ulong address) || !window.TryLoad64(vector + 8, out ulong length)) return -Errno.EFAULT;
        if (kind is not (GeneralRegisters or FloatRegisters)) return -Errno.EINVAL;
        if (length % 8 != 0) return -Errno.EINVAL;
        Span<byte> bytes = stackalloc byte[FloatSize];
        bytes = bytes[..(kind == GeneralRegisters ? GeneralSize : FloatSize)];
        int count = (int)Math.Min(length, (ulong)bytes.Length);
        Load(target.Hart, bytes, kind);
        if (sets)
        {
            if (!window.TryReadBytes(address, bytes[..count])) return -Errno.EFAULT;
            Store(target.Hart, bytes, kind);
        }
        else if (!window.TryWriteBytes(address, bytes[..count])) return -Errno.EFAULT;
        return window.TryStore64(vector + 8, (ulong)count) ? 0 : -Errno.EFAULT;
    }

    private static void Load(Hart hart, Span<byte> bytes, ulong kind)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        if (kind == GeneralRegisters)
        {
            words[0] = hart.Pc;
            for (int i = 1; i < 32; i++) words[i] = hart[i];
            return;
        }
        for (int i = 0; i < 32; i++) words[i] = SignalFrame.GetFloat(ref hart.State, i);
        words[32] = hart.State.Fflags & 31 | (hart.State.Frm & 7) << 5;
    }

    private static void Store(Hart hart, Span<byte> bytes, ulong kind)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        if (kind == GeneralRegisters)
        {
            hart.Pc = words[0] & ~1UL;
            for (int i = 1; i < 32; i++) hart[i] = words[i];
            return;
        }
        for (int i = 0; i < 32; i++) SignalFrame.SetFloat(ref hart.State, i, words[i]);
        hart.State.Fflags = (uint)words[32] & 31;
        hart.State.Frm = (uint)words[32] >> 5 & 7;
    }

    /// <summary><c>struct ptrace_syscall_info</c>: its size, of which as much is written as the tracer has room for.</summary>
    private static long SyscallInfo(GuestThread thread, GuestThread target, Tracee tracee, ulong room, ulong address)
    {
        Span<byte> info = stackalloc byte[88];
        info.Clear();
        var hart = target.Hart;
        info[0] = tracee.Syscall;
        BinaryPrimitives.WriteUInt32LittleEndian(info[4..], Architecture);
        BinaryPrimitives.WriteUInt64LittleEndian(info[8..], hart.Pc);
        BinaryPrimitives.WriteUInt64LittleEndian(info[16..], hart[2]);
        int size = 24;
        if (tracee.Syscall == 1)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(info[24..], hart[17]);
            BinaryPrimitives.WriteUInt64LittleEndian(info[32..], target.SyscallFirstArgument);
            for (int i = 1; i < 6; i++) BinaryPrimitives.WriteUInt64LittleEndian(info[(32 + 8 * i)..], hart[10 + i]);
            size = 80;
        }
        else if (tracee.Syscall == 2)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(info[24..], hart[10]);
            info[32] = (long)hart[10] is < 0 and > -4096 ? (byte)1 : (byte)0;
            size = 33;
        }
        int written = (int)Math.Min(room, (ulong)size);
        return thread.Window.TryWriteBytes(address, info[..written]) ? size : -Errno.EFAULT;
    }

    // ---- memory of others ----

    private static long Transfer(GuestThread thread, in SyscallArgs args, bool writes)
    {
        if (args.A5 != 0 || args.A2 > 1024 || args.A4 > 1024) return -Errno.EINVAL;
        if (!thread.Process.Realm.Processes.TryGetValue((int)args.A0, out var target) || target.HasEnded) return -Errno.ESRCH;
        var (mine, its) = (thread.Process.Credentials, target.Credentials);
        if (mine.EffectiveUid != 0 && mine.Uid != its.Uid) return -Errno.EPERM;
        var local = new ulong[args.A2 * 2];
        var remote = new ulong[args.A4 * 2];
        if (!thread.Window.TryReadBytes(args.A1, MemoryMarshal.AsBytes(local.AsSpan())) || !thread.Window.TryReadBytes(args.A3, MemoryMarshal.AsBytes(remote.AsSpan())))
            return -Errno.EFAULT;
        for (int n = 1; n < local.Length; n += 2) if ((long)local[n] < 0) return -Errno.EINVAL;
        for (int n = 1; n < remote.Length; n += 2) if ((long)remote[n] < 0) return -Errno.EINVAL;
        Span<byte> buffer = stackalloc byte[4096];
        long total = 0;
        int i = 0, k = 0;
        ulong here = 0, there = 0;
        for (;;)
        {
            while (i < local.Length && here == local[i + 1]) (i, here) = (i + 2, 0);
            while (k < remote.Length && there == remote[k + 1]) (k, there) = (k + 2, 0);
            if (i >= local.Length || k >= remote.Length) return total;
            int count = (int)Math.Min(Math.Min(local[i + 1] - here, remote[k + 1] - there), (ulong)buffer.Length);
            var part = buffer[..count];
            int moved;
            if (writes)
            {
                if (!thread.Window.TryReadBytes(local[i] + here, part)) return total > 0 ? total : -Errno.EFAULT;
                moved = target.Memory.Poke(remote[k] + there, part, force: false);
            }
            else
            {
                moved = target.Memory.Peek(remote[k] + there, part);
                if (!thread.Window.TryWriteBytes(local[i] + here, part[..moved])) return total > 0 ? total : -Errno.EFAULT;
            }
            total += moved;
            if (moved < count) return total > 0 ? total : -Errno.EFAULT;
            here += (ulong)count;
            there += (ulong)count;
        }
    }
}
