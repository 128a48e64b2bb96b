namespace Vivarium.Linux.Signals;

/// <summary>Signals that wait for delivery: of a thread or of a process. Standard signals are kept once, real-time ones queue.</summary>
/// <remarks>Guarded by the process's lock; <see cref="Bits"/> may be read without it as a hint.</remarks>
public sealed class PendingSignals
{
    private const int QueueLimit = 32768;

    private readonly List<SigInfo> _queue = [];
    private ulong _bits;

    /// <summary>The sigset of what is pending.</summary>
    public ulong Bits => Volatile.Read(ref _bits);

    /// <summary>Adds a signal; false where the queue of real-time signals is full (EAGAIN).</summary>
    public bool Add(in SigInfo info)
    {
        ulong bit = Signal.Bit(info.Signal);
        if (info.Signal < Signal.SIGRTMIN && (_bits & bit) != 0) return true;
        if (_queue.Count >= QueueLimit) return false;
        _queue.Add(info);
        Volatile.Write(ref _bits, _bits | bit);
        return true;
    }

    /// <summary>Takes the next signal of <paramref name="wanted"/>: faults first, then the lowest number, oldest first.</summary>
    public bool Take(ulong wanted, out SigInfo info)
    {
        ulong candidates = _bits & wanted;
        if (candidates == 0)
        {
            info = default;
            return false;
        }
        if ((candidates & Signal.Synchronous) != 0) candidates &= Signal.Synchronous;
        int signal = System.Numerics.BitOperations.TrailingZeroCount(candidates) + 1;
        int index = _queue.FindIndex(queued => queued.Signal == signal);
        info = _queue[index];
        _queue.RemoveAt(index);
        if (!_queue.Exists(queued => queued.Signal == signal)) Volatile.Write(ref _bits, _bits & ~Signal.Bit(signal));
        return true;
    }

    /// <summary>Forgets all signals of a set.</summary>
    public void Discard(ulong set)
    {
        if ((_bits & set) == 0) return;
        _queue.RemoveAll(queued => (Signal.Bit(queued.Signal) & set) != 0);
        Volatile.Write(ref _bits, _bits & ~set);
    }
}
