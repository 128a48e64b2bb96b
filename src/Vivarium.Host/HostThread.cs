namespace Vivarium.Host;

/// <summary>A host thread that can be kicked: out of a blocking host syscall, and out of emitted code.</summary>
/// <remarks>
/// Kick = a real-time host signal by tgkill. Its handler is emitted machine code: in front of the <c>syscall</c> instruction of the
/// interruptible stub it rewinds to the EINTR exit (no lost wake-up); inside a registered code region it redirects to the region's kick
/// stub (see <see cref="FaultHandler"/>); elsewhere it does nothing, so who kicks sets a flag first.
/// </remarks>
public sealed class HostThread
{
    /// <summary>The calling thread's object; made (and the handlers installed) at first use.</summary>
    public static HostThread Current => throw new NotImplementedException();

    /// <summary>Host thread id (gettid).</summary>
    public int Id { get; }

    /// <summary>Interrupts this thread. Sticky for <see cref="BlockingSyscall"/>: a kick that comes between blocking calls makes the next
    /// one return -EINTR at once, until <see cref="ClearKick"/>.</summary>
    public void Kick() => throw new NotImplementedException();

    /// <summary>Forgets a pending kick. Only from the thread itself.</summary>
    public void ClearKick() => throw new NotImplementedException();

    /// <summary>A raw host syscall that a kick interrupts without a race; returns the kernel's result or negative errno (-4 EINTR).
    /// Only from the thread itself. The GC is not held up while it blocks.</summary>
    public long BlockingSyscall(long number, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0) => throw new NotImplementedException();
}
