using System.Diagnostics;
using System.Runtime.CompilerServices;
using Vivarium.Host;

namespace Vivarium.Host.Tests;

/// <summary>Kicks. Nothing here depends on time: a lost kick is a thread that never answers, found by a generous join.</summary>
public sealed unsafe class HostThreadTests
{
    private const int SysPoll = 7, SysFutex = 202;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private sealed class Victim
    {
        public HostThread? Host;
        public int Kicks;      // sent
        public int Answers;    // seen
        public bool Stop;
    }

    /// <summary>The kicker waits for each answer, so a lost kick stops the test.</summary>
    private static void KickUntilDone(Action<Victim, HostThread> blockOnce, int rounds)
    {
        var victim = new Victim();
        var ready = new ManualResetEventSlim();
        var thread = new Thread(() =>
        {
            var host = HostThread.Current;
            victim.Host = host;
            ready.Set();
            while (!Volatile.Read(ref victim.Stop))
            {
                blockOnce(victim, host);
                host.ClearKick();
                Volatile.Write(ref victim.Answers, Volatile.Read(ref victim.Kicks));
            }
        }) { IsBackground = true };
        thread.Start();
        ready.Wait();
        var clock = Stopwatch.StartNew();
        for (var i = 1; i <= rounds; i++)
        {
            Volatile.Write(ref victim.Kicks, i);
            victim.Host!.Kick();
            // Spread the moment of the next kick over the whole path of the victim.
            var spins = 0;
            while (Volatile.Read(ref victim.Answers) != i)
            {
                if (++spins % 64 == 0) Thread.Yield();
                Assert.True(clock.Elapsed < Patience, $"kick {i} was lost");
            }
            for (var s = i % 400; s > 0; s--) Thread.SpinWait(1);
        }
        Volatile.Write(ref victim.Stop, true);
        victim.Host!.Kick();
        Assert.True(thread.Join(Patience));
    }

    /// <summary>Kicks that a busy thread has not taken yet must not pile up in the kernel: it refuses more than RLIMIT_SIGPENDING of a user's.</summary>
    [Fact]
    public void KicksDoNotQueueUp()
    {
        const int SysRtSigprocmask = 14, Block = 0, Unblock = 1, Rounds = 4000;
        static long Queued() => long.Parse(File.ReadLines("/proc/self/status").First(line => line.StartsWith("SigQ:", StringComparison.Ordinal))[5..].Split('/')[0]);
        var host = HostThread.Current;
        ulong mask = 1UL << (FaultHandler.KickSignal - 1);
        HostSyscall.Invoke(SysRtSigprocmask, Block, (long)&mask, 0, sizeof(ulong));
        try
        {
            long before = Queued();
            for (int i = 0; i < Rounds; i++) host.Kick();
            Assert.InRange(Queued(), 0, before + Rounds / 2);
        }
        finally
        {
            HostSyscall.Invoke(SysRtSigprocmask, Unblock, (long)&mask, 0, sizeof(ulong));
            host.ClearKick();
        }
    }

    [Fact]
    public void Twenty_thousand_kicks_of_a_thread_in_poll_lose_none() =>
        KickUntilDone((_, host) => Assert.Equal(-4, host.BlockingSyscall(SysPoll, 0, 0, -1)), 20_000);

    [Fact]
    public void Twenty_thousand_kicks_of_a_thread_in_futex_lose_none()
    {
        using var window = MemoryWindow.Reserve(1 << 20);
        window.MapAnonymous(0, 4096, Protection.Read | Protection.Write);
        Assert.True(window.TryGetHostAddress(0, 4, out var word));
        KickUntilDone((_, host) => Assert.Equal(-4, host.BlockingSyscall(SysFutex, word, 0 /* FUTEX_WAIT */, 0, 0)), 20_000);
    }

    [Fact]
    public void A_kick_sticks_until_cleared()
    {
        var host = HostThread.Current;
        host.Kick();
        Assert.True(host.IsKicked);
        Assert.Equal(-4, host.BlockingSyscall(SysPoll, 0, 0, -1));
        Assert.Equal(-4, host.BlockingSyscall(SysPoll, 0, 0, -1));
        host.ClearKick();
        Assert.Equal(0, host.BlockingSyscall(SysPoll, 0, 0, 0));
    }

    [Fact]
    public void Kicking_an_ended_thread_is_harmless()
    {
        HostThread? host = null;
        var thread = new Thread(() => host = HostThread.Current);
        thread.Start();
        thread.Join();
        for (var i = 0; i < 100; i++) host!.Kick();
    }

    [Fact]
    public void A_kick_leaves_a_spinning_code_region_through_its_kick_stub_and_collections_go_on_meanwhile()
    {
        using var code = CodeMemory.Reserve(1 << 20);
        code.Commit(0, 8192);
        // push rbp; mov rbp, rdi; mov dword [rbp], 1; spin: inc rax; jmp spin
        ReadOnlySpan<byte> body = [0x55, 0x48, 0x89, 0xFD, 0xC7, 0x45, 0x00, 1, 0, 0, 0, 0x48, 0xFF, 0xC0, 0xEB, 0xFB];
        body.CopyTo(new Span<byte>((void*)code.Base, 64));
        ReadOnlySpan<byte> stub = [0xB8, 42, 0, 0, 0, 0x5D, 0xC3]; // mov eax, 42; pop rbp; ret
        stub.CopyTo(new Span<byte>((byte*)code.Base + 4096, 64));
        var entry = code.Base;
        FaultHandler.Register(new CodeRegion(entry, entry + 4096, 0, 8, 16, 24, entry + 4096, 32, entry + 4096));
        try
        {
            for (var round = 0; round < 200; round++)
            {
                var context = (ulong*)System.Runtime.InteropServices.NativeMemory.AllocZeroed(64);
                HostThread? host = null;
                var result = 0L;
                var thread = new Thread(() =>
                {
                    host = HostThread.Current;
                    result = ((delegate* unmanaged<ulong*, long>)entry)(context);
                }) { IsBackground = true };
                thread.Start();
                while (Volatile.Read(ref context[0]) == 0) Thread.Yield();
                if (round % 10 == 0) GC.Collect(); // does not wait for the spinning thread
                host!.Kick();
                Assert.True(thread.Join(Patience), "the kick was lost");
                Assert.Equal(42, result);
                Assert.InRange(context[4], entry + 4, entry + 16); // interrupted pc
                System.Runtime.InteropServices.NativeMemory.Free(context);
            }
        }
        finally
        {
            FaultHandler.Unregister(entry);
        }
    }
}
