using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>How a process names files: name space, working directory, umask.</summary>
/// <remarks>Thread-safe. The host's own working directory is never used or changed.</remarks>
public sealed partial class FsContext
{
    private readonly Lock _lock = new();
    private OpenFile _cwd;
    private volatile int _umask;
    private int _users = 1;

    private FsContext(NameSpace space, OpenFile cwd, int umask)
    {
        Space = space;
        _cwd = cwd;
        _umask = umask;
    }

    /// <summary>The tree paths are resolved in.</summary>
    public NameSpace Space { get; private set; }

    /// <summary>chroot and pivot_root: paths begin elsewhere from now on; the working directory stays.</summary>
    internal void ChangeRoot(NameSpace space) => Space = space;

    /// <summary>Permission bits taken off new files.</summary>
    public int Umask
    {
        get => _umask;
        set => _umask = value & 0x1FF;
    }

    /// <summary>See <see cref="RunOptions.Root"/> and <see cref="RunOptions.WorkingDirectory"/>.</summary>
    /// <exception cref="IOException">A directory cannot be used; the message is for people.</exception>
    public static FsContext Create(string? root, string? workingDirectory) => Create(new TreeOptions { Root = root, WorkingDirectory = workingDirectory });

    /// <summary>As above, for a tree with all that can be had.</summary>
    /// <exception cref="IOException">A directory cannot be used; the message is for people.</exception>
    public static FsContext Create(TreeOptions options)
    {
        string? root = options.Root, workingDirectory = options.WorkingDirectory;
        HostUmask.Detach();
        var space = NameSpace.Create(options);
        // Confined, "/" of the host is only a stand-in: the first step is an absolute path in the guest's own tree.
        var context = new FsContext(space, new OpenFile(NameSpace.OpenDirectory(root == null ? "." : "/"), space), HostUmask.Initial);
        string? start = workingDirectory ?? (root == null ? null : "/");
        if (start == null) return context;
        if (root != null && !start.StartsWith('/')) start = "/" + start;
        using var path = PathBuffer.From(System.Text.Encoding.UTF8.GetBytes(start));
        long status = context.ChangeDirectory(path, null);
        if (status == 0) return context;
        context.Release();
        space.Dispose();
        throw new IOException($"cannot use '{workingDirectory}' as the working directory: {NameSpace.Reason((int)-status)}");
    }

    /// <summary>Whether a guest path names a symbolic link.</summary>
    internal bool IsLink(GuestProcess caller, string guestPath)
    {
        var bytes = System.Text.Encoding.Latin1.GetBytes(guestPath);
        if (bytes.Length >= PathBuffer.Maximum) return false;
        using var path = PathBuffer.From(bytes);
        var cwd = AcquireWorkingDirectory();
        var result = default(PathResult);
        bool link = Space.Walk(cwd, path, new PathRequest(PathIntent.Handle, follow: false) { Caller = caller }, ref result) >= 0
            && (result.Node?.IsLink ?? (FileStat.OfDescriptor(result.Descriptor, out var stat) >= 0 && (stat.Mode & FileType.Mask) == FileType.Link));
        result.Dispose();
        cwd.Release();
        return link;
    }

    /// <summary>For the loader: opens a regular file for execution (checks the x permission). A host descriptor (close-on-exec, the
    /// caller's to close) or negative errno; <paramref name="resolved"/> is the absolute guest path without symlinks.</summary>
    public int OpenExecutable(ReadOnlySpan<byte> guestPath, out string resolved) => OpenExecutable(null, guestPath, out resolved);

    /// <summary>As above for an execve of <paramref name="caller"/>, whose <c>/proc/self</c> is meant.</summary>
    public int OpenExecutable(GuestProcess? caller, ReadOnlySpan<byte> guestPath, out string resolved)
    {
        resolved = "";
        if (guestPath.Length >= PathBuffer.Maximum) return -Errno.ENAMETOOLONG;
        using var path = PathBuffer.From(guestPath);
        var cwd = AcquireWorkingDirectory();
        var result = default(PathResult);
        long status = Space.Walk(cwd, path, new PathRequest(PathIntent.Handle) { Caller = caller, Needs = Access.Execute }, ref result);
        if (status >= 0)
        {
            status = result.Node != null ? -Errno.EACCES : OpenHandleForExecution(result.Descriptor);
            if (status >= 0) resolved = HostPaths.Describe(result.Descriptor, Space);
        }
        result.Dispose();
        cwd.Release();
        return (int)status;
    }

    /// <summary>The path names a directory: says why a program cannot be executed.</summary>
    internal bool IsDirectory(GuestProcess? caller, ReadOnlySpan<byte> guestPath)
    {
        if (guestPath.Length >= PathBuffer.Maximum) return false;
        using var path = PathBuffer.From(guestPath);
        var cwd = AcquireWorkingDirectory();
        var result = default(PathResult);
        long status = Space.Walk(cwd, path, new PathRequest(PathIntent.Handle) { Flags = OpenFlags.Directory, Caller = caller }, ref result);
        bool directory = status >= 0 && (result.Node == null || (result.Node.Mode & FileType.Mask) == FileType.Directory);
        result.Dispose();
        cwd.Release();
        return directory;
    }

    private static long OpenHandleForExecution(int handle)
    {
        using var scratch = HostScratch.Rent(160);
        var span = scratch.Span;
        span[0] = 0;
        long status = HostSyscall.Invoke(HostCall.NewFStatAt, handle, scratch.Address, scratch.Address + 16, At.EmptyPath);
        if (status < 0) return status;
        uint mode = System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(span[(16 + 24)..]);
        if ((mode & FileType.Mask) != FileType.Regular) return -Errno.EACCES;
        status = HostSyscall.Invoke(HostCall.FAccessAt2, handle, scratch.Address, 1, At.EmptyPath | At.EAccess);
        if (status < 0) return status;
        HostPaths.WriteLinkName(handle, span);
        return HostSyscall.Invoke(HostCall.OpenAt, At.FdCwd, scratch.Address, OpenFlags.ReadOnly | OpenFlags.CloseOnExec);
    }

    /// <summary>The working directory with a reference for the caller.</summary>
    internal OpenFile AcquireWorkingDirectory()
    {
        lock (_lock)
        {
            _cwd.TryAcquire();
            return _cwd;
        }
    }

    /// <summary>Guest path of the working directory.</summary>
    public string WorkingDirectory
    {
        get
        {
            var cwd = AcquireWorkingDirectory();
            string path = cwd.RealmPath;
            if (path.StartsWith('/')) path = Space.FromRealmPath(path);
            cwd.Release();
            return path;
        }
    }

    /// <summary>chdir: 0 or negative errno.</summary>
    internal long ChangeDirectory(in PathBuffer path, GuestProcess? caller)
    {
        var cwd = AcquireWorkingDirectory();
        var result = default(PathResult);
        long status = Space.Walk(cwd, path, new PathRequest(PathIntent.Handle) { Flags = OpenFlags.Directory, Caller = caller, Needs = Access.Execute }, ref result);
        cwd.Release();
        if (status < 0) return status;
        if (result.Node is { } node)
        {
            result.Dispose();
            return (node.Mode & FileType.Mask) != FileType.Directory ? -Errno.ENOTDIR : Enter(SyntheticFileSystem.Handle(node, Space));
        }
        if (result.Lender is { } lender)
        {
            lender.TryAcquire();
            result.Dispose();
            return Enter(lender);
        }
        if (!MaySearch(result.Descriptor))
        {
            result.Dispose();
            return -Errno.EACCES;
        }
        var layer = Space.LayerOf(result);
        return Enter(new OpenFile(result.Take(), Space, null, layer));
    }

    /// <summary>fchdir to a directory (the reference moves).</summary>
    internal long ChangeDirectory(OpenFile directory, Credentials? who = null)
    {
        bool isDirectory = directory.Node != null
            ? (directory.Node.Mode & FileType.Mask) == FileType.Directory
            : FileStat.OfDescriptor(directory.HostDescriptor, out var stat) >= 0 && (stat.Mode & FileType.Mask) == FileType.Directory;
        if (isDirectory && (directory.Node != null || MaySearch(directory.HostDescriptor) && MaySearch(directory, who))) return Enter(directory);
        directory.Release();
        return isDirectory ? -Errno.EACCES : -Errno.ENOTDIR;
    }

    private bool MaySearch(OpenFile directory, Credentials? who) =>
        !Space.Restricts(who) || Permissions.Of(directory.HostDescriptor, Space.Owners, out var permissions) < 0 || permissions.Allow(who!, Access.Execute);

    private static bool MaySearch(int descriptor)
    {
        using var empty = HostScratch.Rent(1);
        empty.Span[0] = 0;
        return HostSyscall.Invoke(HostCall.FAccessAt2, descriptor, empty.Address, 1, At.EmptyPath | At.EAccess) == 0;
    }

    private long Enter(OpenFile directory)
    {
        OpenFile old;
        lock (_lock)
        {
            old = _cwd;
            _cwd = directory;
        }
        old.Release();
        return 0;
    }

    /// <summary>A copy for fork.</summary>
    public FsContext Clone() => new(Space, AcquireWorkingDirectory(), _umask);

    /// <summary>One more process uses this context (CLONE_FS).</summary>
    public FsContext Share()
    {
        Interlocked.Increment(ref _users);
        return this;
    }

    /// <summary>A process that used it is gone.</summary>
    public void Release()
    {
        if (Interlocked.Decrement(ref _users) == 0) _cwd.Release();
    }
}

/// <summary>The host's umask, made the calling thread's own so that each guest's can be in force while it makes files.</summary>
/// <remarks>With unshare(CLONE_FS) a host thread has a umask to itself. It is set only when the guest's differs from the thread's last.</remarks>
internal static class HostUmask
{
    private const int CloneFs = 0x200;

    [ThreadStatic]
    private static int _current;

    [ThreadStatic]
    private static bool _detached;

    private static bool _known;

    /// <summary>What viv was started with.</summary>
    public static int Initial { get; private set; } = 0x12;

    /// <summary>Separates the calling thread's umask from the process's.</summary>
    public static void Detach()
    {
        if (_detached) return;
        HostSyscall.Invoke(HostCall.Unshare, CloneFs);
        _current = (int)HostSyscall.Invoke(HostCall.UMask, 0x12);
        if (!_known) Initial = _current;
        _known = true;
        HostSyscall.Invoke(HostCall.UMask, _current);
        _detached = true;
    }

    /// <summary>Puts a guest's umask in force on the calling thread.</summary>
    public static void Apply(int umask)
    {
        if (!_detached) Detach();
        if (_current == umask) return;
        HostSyscall.Invoke(HostCall.UMask, umask);
        _current = umask;
    }
}
