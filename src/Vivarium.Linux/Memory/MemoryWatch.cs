using System.Buffers.Text;
using Vivarium.Host;

namespace Vivarium.Linux.Memory;

/// <summary>
/// Keeps a realm within an amount of memory: looks now and then at what the host process has taken since the realm's start, and kills the
/// guest process with the most memory when that is too much, as a kernel out of memory does.
/// </summary>
/// <remarks>Guests that write fast may be some tens of MiB over the limit before they are seen. A thread of its own.</remarks>
internal sealed class MemoryWatch : IDisposable
{
    private readonly Realm _realm;
    private readonly ulong _baseline;
    private readonly ManualResetEventSlim _end = new();
    private readonly HashSet<MappedFile> _files = [];
    private readonly Thread _thread;
    private ulong _used;

    public MemoryWatch(Realm realm, ulong limit)
    {
        _realm = realm;
        Limit = limit;
        _baseline = Anonymous();
        _thread = new Thread(Watch) { IsBackground = true, Name = "memory limit" };
        _thread.Start();
    }

    /// <summary>Bytes.</summary>
    public ulong Limit { get; }

    /// <summary>Bytes in use when last looked at.</summary>
    public ulong Used => Volatile.Read(ref _used);

    private void Watch()
    {
        int wait = 1;
        while (!_end.Wait(wait))
        {
            ulong used = Measure();
            Volatile.Write(ref _used, used);
            if (used > Limit) KillLargest(used);
            // A guest can write some 2 MiB a millisecond.
            wait = (int)Math.Clamp(used > Limit ? 1 : (Limit - used) >> 21, 1, 50);
        }
    }

    private ulong Measure()
    {
        ulong anonymous = Anonymous(), total = anonymous > _baseline ? anonymous - _baseline : 0;
        _files.Clear();
        foreach (var process in _realm.Processes.Values)
        {
            if (!process.HasEnded) process.Memory.CollectMemoryFiles(_files);
        }
        foreach (var file in _files) total += file.MemoryBytes();
        return total;
    }

    private void KillLargest(ulong used)
    {
        GuestProcess? largest = null;
        ulong most = 0;
        using var pages = new PageMap();
        var runs = new List<(ulong, ulong)>();
        foreach (var process in _realm.Processes.Values)
        {
            if (process.HasEnded || process.IsZombie) continue;
            // One dies already: what it gives back may do.
            if (process.IsExiting) return;
            ulong own = process.Memory.ResidentBytes(pages, runs);
            // As the kernel weighs: the guest's wish counts in thousandths of what there is.
            int wish = process.Traits.OutOfMemoryScore;
            if (wish <= -1000) own = 0;
            else if (wish != 0) own = (ulong)Math.Max(1, (long)own + (long)(Limit / 1000) * wish);
            if (largest != null && own <= most) continue;
            (largest, most) = (process, own);
        }
        if (largest == null) return;
        _realm.Errors.WriteLine($"viv: {largest.Name}[{largest.Pid}]: killed: {used >> 20} MiB in use, {Limit >> 20} MiB allowed (--memory)");
        largest.Queue(null, Signals.SigInfo.Kernel(Signals.Signal.SIGKILL));
        for (int i = 0; i < 200 && !largest.HasEnded && !_end.IsSet; i++) Thread.Sleep(1);
    }

    /// <summary>Resident bytes of the host process that are no file's: /proc/self/statm.</summary>
    private static ulong Anonymous()
    {
        var buffer = HostBuffer.Current;
        "/proc/self/statm\0"u8.CopyTo(buffer.Bytes);
        long descriptor = HostSyscall.Invoke(2 /* open */, buffer.Address, 0x80000 /* O_CLOEXEC */);
        if (descriptor < 0) return 0;
        long length = HostSyscall.Invoke(0 /* read */, descriptor, buffer.Address, 256);
        HostSyscall.Invoke(3 /* close */, descriptor);
        if (length <= 0) return 0;
        ReadOnlySpan<byte> text = buffer.Bytes[..(int)length];
        text = text[(text.IndexOf((byte)' ') + 1)..];
        if (!Utf8Parser.TryParse(text, out ulong resident, out int used)) return 0;
        return Utf8Parser.TryParse(text[(used + 1)..], out ulong shared, out _) && resident > shared ? (resident - shared) * AddressSpace.PageSize : 0;
    }

    public void Dispose()
    {
        _end.Set();
        _thread.Join();
    }
}
