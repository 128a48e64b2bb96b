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

    /// <summary>Handle, At: the object is going to be changed (mode, owner, times, attributes, length, a further name).</summary>
    public bool Modifies { get; init; }

    /// <summary>Handle: changes of the object are going to be watched.</summary>
    public bool Watches { get; init; }

    /// <summary>At: the caller looks at the object itself and asks again without this where <see cref="PathResult.MayBeLink"/> and it is a link, or
    /// needs a descriptor of it: a name without directories then takes no descriptor.</summary>
    public bool Probe { get; init; }

    /// <summary>Handle: permissions that who asks must have on the object (<see cref="Access"/>).</summary>
    public int Needs { get; init; }

    /// <summary>Parent: a name that is there is going to be removed or replaced.</summary>
    public bool Removes { get; init; }

    /// <summary>Parent: a name that is not there is going to be made.</summary>
    public bool Makes { get; init; }

    /// <summary>Whose permissions count, where they are not the caller's.</summary>
    public Credentials? Who { get; init; }

    /// <summary>Leave the path from the realm's root in the canonical buffer: <see cref="PathResult.CanonicalLength"/>.</summary>
    public bool WantsPath { get; init; }

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

    /// <summary>At, with <see cref="PathRequest.Probe"/>: a link at this name has not been followed.</summary>
    public bool MayBeLink;

    /// <summary>The file system that the walk ended in; null where <see cref="Node"/> answers.</summary>
    public FileSystem? FileSystem;

    /// <summary>The path in that file system; it lies in the walk's buffers. Set by overlays.</summary>
    public Span<byte> Inside;

    /// <summary>Length of the path from the realm's root, where it was wanted.</summary>
    public int CanonicalLength;

    /// <summary>The object is in a layer that must not change.</summary>
    public bool Lower;

    /// <summary>What the open file that <see cref="Descriptor"/> was taken from remembers.</summary>
    public FileLayer? Layer;

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

/// <summary>Something mounted in a guest's tree.</summary>
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

    /// <summary>Makes the name that a walk with <see cref="PathIntent.Parent"/> ended at, by <paramref name="maker"/>: what that returns, or negative errno.</summary>
    public virtual long MakeName(in PathResult at, GuestProcess? caller, uint type, NameMaker maker) => maker(at.Descriptor, at.Leaf);

    /// <summary>unlinkat of such a name.</summary>
    public virtual long RemoveName(in PathResult at, GuestProcess? caller, int flags) =>
        Host.HostSyscall.Invoke(HostCall.UnlinkAt, at.Descriptor, at.Leaf, flags);

    /// <summary>renameat2 of such a name to another in this file system.</summary>
    public virtual long RenameName(in PathResult from, in PathResult to, GuestProcess? caller, ulong flags) =>
        Host.HostSyscall.Invoke(HostCall.RenameAt2, from.Descriptor, from.Leaf, to.Descriptor, to.Leaf, (long)flags);

    /// <summary>Before the host makes a socket at such a name by itself: gives <see cref="PathResult.Descriptor"/> the directory.</summary>
    public virtual long PrepareBind(ref PathResult at, GuestProcess caller) => 0;

    /// <summary>The host has made it.</summary>
    public virtual void Bound(in PathResult at)
    {
    }

    /// <summary>Whether names can be renamed and linked from here to <paramref name="other"/> as far as we know.</summary>
    public virtual bool SharesNames(FileSystem other) => ReferenceEquals(this, other);

    /// <summary>The realm is gone.</summary>
    public virtual void Close()
    {
    }
}
