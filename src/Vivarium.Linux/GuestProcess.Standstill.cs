namespace Vivarium.Linux;

// One thread makes the others stand still for a moment: a fork that freezes memory must not miss what they write.
public sealed partial class GuestProcess
{
    private GuestThread? _standstillBy;
    private int _standing;

    /// <summary>Somebody wants the other threads to stand; they look on their way to guest code.</summary>
    internal bool MustStand(GuestThread thread) => Volatile.Read(ref _standstillBy) is { } by && by != thread;

    /// <summary>Has all threads but the caller leave guest code and host calls that may block, and keeps them from both until <see cref="Resume"/>. False (and
    /// nothing to resume) where they do not come within some milliseconds: not everything that a thread may be in can be interrupted.</summary>
    internal bool StandStill(GuestThread caller)
    {
        lock (Sync)
        {
            if (_standstillBy != null || _exiting) return false;
            Volatile.Write(ref _standstillBy, caller);
            foreach (var thread in _threads)
            {
                if (thread != caller) thread.Nudge();
            }
        }
        long deadline = GuestThread.MonotonicNow() + 20_000_000;
        for (;;)
        {
            lock (Sync)
            {
                if (_standing == _threads.Count - 1) return true;
            }
            if (caller.Park(deadline) == -Errno.EINTR) caller.AcceptKick();
            if (GuestThread.MonotonicNow() < deadline) continue;
            Resume();
            return false;
        }
    }

    /// <summary>Ends a standstill.</summary>
    internal void Resume()
    {
        lock (Sync)
        {
            Volatile.Write(ref _standstillBy, null);
            foreach (var thread in _threads) thread.Unpark();
        }
    }

    /// <summary>What a thread does while it must stand.</summary>
    internal void Stand(GuestThread thread)
    {
        lock (Sync)
        {
            if (_standstillBy == null) return;
            _standing++;
            _standstillBy.Unpark();
        }
        for (;;)
        {
            // Decided under the lock: who asks next counts those that stand, and nobody counted may be on its way out.
            lock (Sync)
            {
                if (!MustStand(thread))
                {
                    _standing--;
                    return;
                }
            }
            thread.AcceptKick();
            if (MustStand(thread)) thread.Park();
        }
    }
}
