namespace Vivarium.Linux.Vfs;

/// <summary>What a path is wanted for.</summary>
internal enum PathIntent
{
    /// <summary>An open host descriptor (or a synthetic node): open, openat2.</summary>
    Open,

    /// <summary>A host O_PATH descriptor of the object itself.</summary>
    Handle,

    /// <summary>A descriptor and path to hand to an <c>...at</c> call with <see cref="PathResult.AtFlags"/>.</summary>
    At,

    /// <summary>A directory and the last component, for calls that make, remove or rename a name.</summary>
    Parent,
}

/// <summary>What to do at the end of a path walk.</summary>
internal readonly ref struct PathRequest
{
    public PathRequest(PathIntent intent, bool follow = true) => (Intent, Follow) = (intent, follow);

    public PathIntent Intent { get; }

    /// <summary>Follow a symbolic link in the last component.</summary>
    public bool Follow { get; init; }

    /// <summary>O_* flags (Open; O_DIRECTORY also for Handle).</summary>
    public int Flags { get; init; }

    public uint Mode { get; init; }

    /// <summary>Who asks: <c>/proc/self</c> is its own. Null for the loader before there is a process.</summary>
    public GuestProcess? Caller { get; init; }

    /// <summary>RESOLVE_* bits the guest asked for with openat2.</summary>
    public ulong Resolve { get; init; }
}

/// <summary>Where a path walk ended. Dispose it when the syscall is done.</summary>
internal ref struct PathResult
{
    /// <summary>Host descriptor; meaning by intent. -1 where <see cref="Node"/> answers.</summary>
    public int Descriptor;

    /// <summary>The descriptor is closed by <see cref="Dispose"/>.</summary>
    public bool Owned;

    /// <summary>Host address of the NUL-terminated path to use with <see cref="Descriptor"/> (At: maybe empty; Parent: the last component).</summary>
    public long Leaf;

    /// <summary>AT_EMPTY_PATH or AT_SYMLINK_NOFOLLOW as the At intent needs.</summary>
    public int AtFlags;

    /// <summary>The synthetic node the path names, or null.</summary>
    public SyntheticNode? Node;

    /// <summary>A device of the host was opened under one of our names.</summary>
    public bool IsDevice;

    /// <summary>Keeps <see cref="Descriptor"/> alive where another open file lends it.</summary>
    public OpenFile? Lender;

    /// <summary>Hands the descriptor to the caller.</summary>
    public int Take()
    {
        Owned = false;
        return Descriptor;
    }

    public void Dispose()
    {
        if (Owned) Host.HostSyscall.Invoke(HostCall.Close, Descriptor);
        Owned = false;
        Lender?.Release();
        Lender = null;
    }
}

/// <summary>Something mounted in a guest's tree. Overlays of image layers and tmpfs join here.</summary>
internal abstract class FileSystem
{
    /// <summary>
    /// Carries out the end of a walk for <paramref name="path"/>, which is relative to <paramref name="baseDescriptor"/> (or to the file system's root where
    /// that is -1), has no leading slash and may be empty (the base itself). The path is NUL-terminated at <paramref name="address"/>.
    /// </summary>
    /// <returns>0 or a positive number, or a negative errno. -ELOOP asks the walker to resolve symbolic links itself.</returns>
    public abstract long Finish(in PathRequest request, int baseDescriptor, long address, Span<byte> path, ref PathResult result);

    /// <summary>Reads the symbolic link <paramref name="path"/> (relative to the root, parents without links) into <paramref name="target"/>: its length, 0 if
    /// it is no link, negative errno.</summary>
    public abstract int ReadLink(in PathRequest request, bool last, long address, Span<byte> path, Span<byte> target, long targetAddress);
}
