using System.Runtime.InteropServices;
using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

/// <summary>The process's SIGSEGV/SIGBUS/SIGFPE/kick handlers: emitted machine code that redirects faults in copy stubs and in registered code
/// regions, and chains everything else to the handler that was there (the .NET runtime's).</summary>
/// <remarks>SIGBUS and SIGFPE run on the interrupted stack (as the runtime wants them), so emitted code must keep rsp a host stack pointer
/// with some 4 KiB free below it.</remarks>
public static unsafe class FaultHandler
{
    /// <summary>The host signal behind <see cref="HostThread.Kick"/>: SIGSTKFLT, which no kernel sends. Not a real-time signal: those queue up, one per kick,
    /// until the user's RLIMIT_SIGPENDING is used up and a kick is refused; of this one a second while the first is pending is dropped.</summary>
    public const int KickSignal = 16;

    /// <summary>The host signal behind <see cref="HostThread.Sample"/>.</summary>
    public const int SampleSignal = 41;

    private static readonly Lock Gate = new();
    private static bool s_installed;

    /// <summary>Installs the handlers once; safe to call again.</summary>
    public static void EnsureInstalled()
    {
        if (Volatile.Read(ref s_installed)) return;
        lock (Gate)
        {
            if (s_installed) return;
            var stubs = StubPage.Signals;
            foreach (var signal in (ReadOnlySpan<int>)[SigSegv, SigBus, SigFpe])
            {
                KernelSigaction old;
                Sigaction(signal, null, &old);
                // The old handler has to be in the table before ours can run.
                stubs.Tables->OldHandlers[signal] = old.Handler;
                var ours = new KernelSigaction
                {
                    Handler = stubs.FaultHandler,
                    // Chained to by a jump, so it must find the mask and flags that it asked for. The stack too: the runtime takes
                    // SIGSEGV on the alternate stack and moves off it, but SIGFPE and SIGBUS on the thread's own.
                    Flags = ((old.Handler > 1 ? old.Flags : KernelSigaction.SaOnStack) & ~KernelSigaction.SaResetHand)
                        | KernelSigaction.SaSigInfo | KernelSigaction.SaRestorer,
                    Restorer = old.Restorer != 0 ? old.Restorer : stubs.Restorer,
                    Mask = old.Mask,
                };
                Sigaction(signal, &ours, null);
            }
            // No SA_RESTART: the kick has to end a blocking call with EINTR.
            var kick = new KernelSigaction
            {
                Handler = stubs.KickHandler,
                Flags = KernelSigaction.SaSigInfo | KernelSigaction.SaOnStack | KernelSigaction.SaRestorer,
                Restorer = stubs.Restorer,
            };
            Sigaction(KickSignal, &kick, null);
            var sample = kick with { Handler = stubs.SampleHandler, Flags = kick.Flags | KernelSigaction.SaRestart };
            Sigaction(SampleSignal, &sample, null);
            Volatile.Write(ref s_installed, true);
        }
    }

    /// <summary>Registers a region; at most 64 at a time. Thread-safe.</summary>
    /// <exception cref="InvalidOperationException">64 regions are registered.</exception>
    public static void Register(in CodeRegion region)
    {
        if (region.Start >= region.End) throw new ArgumentException("a code region must not be empty", nameof(region));
        EnsureInstalled();
        lock (Gate)
        {
            var slots = StubPage.Signals.Tables->Regions;
            for (var i = 0; i < SignalTables.MaxRegions; i++)
            {
                if (slots[i] != 0) continue;
                // SAFETY: never freed and not written after publication, so a handler on any thread may read it at any time.
                var record = (RegionRecord*)NativeMemory.Alloc((nuint)sizeof(RegionRecord));
                *record = new RegionRecord
                {
                    Start = region.Start,
                    Length = region.End - region.Start,
                    ContextBias = region.ContextBias,
                    FaultHostPcOffset = region.FaultHostPcOffset,
                    FaultAddressOffset = region.FaultAddressOffset,
                    FaultSignalOffset = region.FaultSignalOffset,
                    FaultStub = region.FaultStub,
                    KickHostPcOffset = region.KickHostPcOffset,
                    KickStub = region.KickStub,
                };
                Volatile.Write(ref slots[i], (ulong)record);
                return;
            }
        }
        throw new InvalidOperationException($"cannot register a code region: {SignalTables.MaxRegions} are registered already");
    }

    /// <summary>Forgets the region that starts there, if any. No thread may execute in it any more. Thread-safe.</summary>
    public static void Unregister(ulong start)
    {
        lock (Gate)
        {
            var slots = StubPage.Signals.Tables->Regions;
            for (var i = 0; i < SignalTables.MaxRegions; i++)
                if (slots[i] != 0 && ((RegionRecord*)slots[i])->Start == start) Volatile.Write(ref slots[i], 0);
        }
    }

    /// <summary>
    /// Gives a signal its default action. SIGABRT needs it on CoreCLR, whose handler for it takes itself out and returns: a process that is sent one
    /// lives on. Thread-safe.
    /// </summary>
    /// <exception cref="InvalidOperationException">The host refuses, as for SIGKILL.</exception>
    public static void RestoreDefault(int signal)
    {
        // SAFETY: the kernel reads one struct of zeroes during the call.
        KernelSigaction action = default;
        Sigaction(signal, &action, null);
    }

    private static void Sigaction(int signal, KernelSigaction* action, KernelSigaction* old)
    {
        var result = HostSyscall.Invoke(SysRtSigaction, signal, (long)action, (long)old, sizeof(ulong));
        if (result < 0) throw new InvalidOperationException($"cannot install a handler for host signal {signal}: errno {-result}");
    }
}
