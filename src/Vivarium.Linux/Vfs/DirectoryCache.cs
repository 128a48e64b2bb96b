using System.Collections.Concurrent;
using System.Text;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>Open directories of a confined tree by their paths, so that stat, mkdir or unlink of <c>usr/bin/env</c> starts in <c>usr/bin</c> instead of
/// walking there and opening something.</summary>
/// <remarks>
/// Thread-safe. The host may change the tree too, so every use asks the host kernel, without waiting, whether a directory on the way to a cached one
/// has been renamed or has other rights (inotify, whose events are there before the rename returns) or anything was mounted (mountinfo): then all
/// of it is forgotten. A removed directory is empty; who finds nothing in one asks <see cref="IsGone"/>. Only on file systems that nobody changes
/// from another machine.
/// </remarks>
internal sealed class DirectoryCache(int root)
{
    /// <summary>Most directories, and after how many new ones those that have been removed meanwhile are let go: a removed directory's descriptor keeps its inode.</summary>
    private const int Maximum = 512, SweepEvery = 16;

    private const int FirstThreshold = 3, Never = byte.MaxValue;
    private const long EPollWait = 232, EPollCtl = 233, EPollCreate = 291, InotifyInit = 294, InotifyAddWatch = 254;
    private const int WatchMask = 0x800 /* IN_MOVE_SELF */ | 4 /* IN_ATTRIB */ | 0x01000000 /* IN_ONLYDIR */, NonBlock = 0x800;
    private const uint EPollIn = 1, EPollPri = 2;

    private readonly Lock _lock = new();
    private readonly byte[] _misses = new byte[1024];
    private Generation? _now;
    private ulong _device;
    private int _drops, _added;
    private bool _off;

    /// <summary>What is known between two changes of the host's tree.</summary>
    private sealed class Generation(OpenFile changes, OpenFile watch, OpenFile mounts)
    {
        private readonly ConcurrentDictionary<byte[], OpenFile> _directories = new(ByteNames.Comparer);

        /// <summary>The epoll descriptor that both of the others are in.</summary>
        public OpenFile Changes { get; } = changes;

        public OpenFile Watch { get; } = watch;

        public int Count => _directories.Count;

        public OpenFile? Find(ReadOnlySpan<byte> path) => _directories.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(path, out var file) ? file : null;

        public bool TryAdd(ReadOnlySpan<byte> path, OpenFile directory) => _directories.TryAdd(path.ToArray(), directory);

        /// <summary>Lets go of directories that have been removed. Under the cache's lock, before this generation is given up.</summary>
        public void Sweep()
        {
            foreach (var entry in _directories)
            {
                if (IsGone(entry.Value.HostDescriptor) && _directories.TryRemove(entry)) entry.Value.Release();
            }
        }

        public void Release()
        {
            Changes.Release();
            Watch.Release();
            mounts.Release();
            foreach (var directory in _directories.Values) directory.Release();
        }
    }

    /// <summary>The open directory for a path from the root (no slashes at its ends) with a reference for the caller, or null.</summary>
    public OpenFile? Acquire(ReadOnlySpan<byte> path)
    {
        if (_off) return null;
        var now = Volatile.Read(ref _now);
        if (now?.Find(path) is not { } directory) return Missed(now, path);
        if (!now.Changes.TryAcquire()) return null;
        bool changed = HasChanged(now);
        now.Changes.Release();
        if (changed)
        {
            Drop(now);
            return null;
        }
        return directory.TryAcquire() ? directory : null;
    }

    /// <summary>Whether a directory has been removed: then "no such file" in it says nothing about its path.</summary>
    public static bool IsGone(int descriptor) => FileStat.OfDescriptor(descriptor, out var stat) < 0 || stat.Links == 0;

    /// <summary>The tree is given up.</summary>
    public void Close()
    {
        lock (_lock)
        {
            _off = true;
            _now?.Release();
            _now = null;
        }
    }

    private static bool HasChanged(Generation now)
    {
        using var events = HostScratch.Rent(12);
        return HostSyscall.InvokeFast(EPollWait, now.Changes.HostDescriptor, events.Address, 1, 0) != 0;
    }

    private void Drop(Generation old)
    {
        lock (_lock)
        {
            if (!ReferenceEquals(_now, old)) return;
            _now = null;
            _drops++;
            Array.Clear(_misses);
        }
        old.Release();
    }

    // A path that is asked for again and again is worth its watches; where directories are renamed all the time nothing is.
    private OpenFile? Missed(Generation? now, ReadOnlySpan<byte> path)
    {
        ref byte misses = ref _misses[ByteNames.Comparer.GetHashCode(path) & 1023];
        if (misses == Never) return null;
        if (++misses < Math.Min(FirstThreshold + _drops, Never - 1)) return null;
        lock (_lock)
        {
            if (_off || !ReferenceEquals(_now, now)) return null;
            misses = Never;
            if (now is { Count: >= Maximum })
            {
                _now = null;
                now.Release();
                now = null;
            }
            now ??= _now = Begin();
            if (now == null) _off = true;
            else Add(now, path);
        }
        return null;
    }

    private Generation? Begin()
    {
        if (!IsLocal() || FileStat.OfDescriptor(root, out var stat) < 0) return null;
        _device = stat.Device;
        long watch = HostSyscall.Invoke(InotifyInit, NonBlock | OpenFlags.CloseOnExec), changes = HostSyscall.Invoke(EPollCreate, OpenFlags.CloseOnExec);
        using var name = HostName.Of(Encoding.ASCII.GetBytes("/proc/self/mountinfo"));
        long mounts = HostSyscall.Invoke(HostCall.OpenAt, At.FdCwd, name.Address, OpenFlags.CloseOnExec);
        if (watch >= 0 && changes >= 0 && mounts >= 0 && Listen(changes, watch, EPollIn) && Listen(changes, mounts, EPollPri))
        {
            var begun = new Generation(new OpenFile((int)changes), new OpenFile((int)watch), new OpenFile((int)mounts));
            // The table is new to this descriptor: what was mounted before is no change.
            HasChanged(begun);
            return begun;
        }
        foreach (long fd in (ReadOnlySpan<long>)[watch, changes, mounts]) if (fd >= 0) HostSyscall.Invoke(HostCall.Close, fd);
        return null;
    }

    private static bool Listen(long changes, long fd, uint events)
    {
        using var one = HostScratch.Rent(12);
        one.Span.Clear();
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(one.Span, events);
        return HostSyscall.Invoke(EPollCtl, changes, 1 /* EPOLL_CTL_ADD */, fd, one.Address) == 0;
    }

    // File systems that only this machine changes, by their magic numbers: ext, xfs, btrfs, tmpfs, overlay, f2fs, zfs, bcachefs.
    private bool IsLocal()
    {
        using var buffer = HostScratch.Rent(120);
        if (HostSyscall.Invoke(HostCall.FStatFs, root, buffer.Address) < 0) return false;
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(buffer.Span) is 0xEF53 or 0x58465342 or 0x9123683E or 0x01021994 or 0x794C7630 or 0xF2F52010 or 0x2FC12FC1 or 0xCA451A4E;
    }

    // Opens a directory step by step: each step is watched, and looked up once more to be sure that what is watched is what is there.
    private void Add(Generation now, ReadOnlySpan<byte> path)
    {
        int at = root;
        long opened = -1;
        for (var rest = path; !rest.IsEmpty;)
        {
            int end = rest.IndexOf((byte)'/');
            var component = end < 0 ? rest : rest[..end];
            rest = end < 0 ? default : rest[(end + 1)..];
            long next = component.IsEmpty || component.SequenceEqual("."u8) || component.SequenceEqual(".."u8) ? -1 : Step(now, at, component);
            if (opened >= 0) HostSyscall.Invoke(HostCall.Close, opened);
            if (next < 0) return;
            opened = next;
            at = (int)next;
        }
        if (opened < 0) return;
        if (++_added % SweepEvery == 0) now.Sweep();
        var directory = new OpenFile((int)opened);
        if (!now.TryAdd(path, directory)) directory.Release();
    }

    private long Step(Generation now, int at, ReadOnlySpan<byte> component)
    {
        const ulong resolve = ResolveFlags.NoSymlinks | ResolveFlags.Beneath;
        const int flags = OpenFlags.Path | OpenFlags.Directory | OpenFlags.CloseOnExec;
        using var name = HostName.Of(component);
        long fd = HostFileSystem.OpenAt2(at, name.Address, flags, 0, resolve);
        if (fd < 0) return fd;
        using var link = HostName.OfDescriptor((int)fd);
        bool good = HostSyscall.Invoke(InotifyAddWatch, now.Watch.HostDescriptor, link.Address, WatchMask) >= 0 && FileStat.OfDescriptor((int)fd, out var first) >= 0
            && first.Device == _device && FileStat.OfPath(at, name.Address, At.SymlinkNoFollow, out var again) >= 0 && first.Device == again.Device && first.Inode == again.Inode;
        if (good) return fd;
        HostSyscall.Invoke(HostCall.Close, fd);
        return -1;
    }
}
