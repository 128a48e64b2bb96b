using Vivarium.Host;

namespace Vivarium.Translation.Dispatch;

/// <summary>What others want of a thread that runs guest code: that it leaves regions, and where it is.</summary>
internal sealed class GuestPresence
{
    // What emitted code and the sampling signal's handler write to.
    private readonly ulong _cells = SlotCells.Take();
    private int _asked; // a sample is under way: only the sampler sets it

    /// <summary>Address of the word that asks regions to be left.</summary>
    public ulong LeaveCell => _cells;

    /// <summary>Regions may be entered.</summary>
    public void Stay()
    {
        // A request to leave sets the hart's word first and then this one: whoever clears this one sees the other.
        if (Volatile.Read(ref SlotCells.Leave(_cells)) != 0) Interlocked.Exchange(ref SlotCells.Leave(_cells), 0);
    }

    /// <summary>Whatever region the thread is in, it comes to the dispatcher soon.</summary>
    public void Leave() => Volatile.Write(ref SlotCells.Leave(_cells), 1);

    /// <summary>The thread has come back from emitted code, by whatever way: it is in no region.</summary>
    public void LeaveRegion() => Volatile.Write(ref SlotCells.Region(_cells), 0);

    /// <summary>The region that the thread is in: see <see cref="SlotCells.Region"/>. Entries say so before they look whether the region is in service.</summary>
    public ulong Region => Volatile.Read(ref SlotCells.Region(_cells));

    /// <summary>The host pc that the last sample found, 0 for none yet; asks for the next one if the thread runs guest code.</summary>
    /// <param name="host">The thread.</param>
    /// <param name="epoch">0 while it does not.</param>
    public ulong Sample(HostThread host, ref long epoch)
    {
        ulong found = Interlocked.Exchange(ref SlotCells.HostPc(_cells), 0);
        if (found != 0) Volatile.Write(ref _asked, 0);
        if (Volatile.Read(ref _asked) != 0 || Volatile.Read(ref epoch) == 0) return found;
        Interlocked.Exchange(ref _asked, 1);
        // From here on the thread does not get past LeaveEngine.
        if (Volatile.Read(ref epoch) == 0 || !host.Sample(SlotCells.HostPcAddress(_cells))) Volatile.Write(ref _asked, 0);
        return found;
    }

    /// <summary>The thread is about to leave for C#. A sampling signal on its way is waited for: in a system call it would do harm (short
    /// reads and writes).</summary>
    public void LeaveEngine(ref long epoch)
    {
        Interlocked.Exchange(ref epoch, 0);
        while (Volatile.Read(ref _asked) != 0 && Volatile.Read(ref SlotCells.HostPc(_cells)) == 0) Thread.SpinWait(1);
    }

    public void Free() => SlotCells.Give(_cells);
}
