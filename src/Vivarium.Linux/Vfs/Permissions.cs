namespace Vivarium.Linux.Vfs;

/// <summary>Permissions that a call asks for (MAY_*; the low bits of a mode).</summary>
internal static class Access
{
    public const int Execute = 1, Write = 2, Read = 4;

    /// <summary>What open(2) with these flags needs of a file that is there.</summary>
    public static int OfOpen(int flags)
    {
        if ((flags & OpenFlags.Path) != 0) return 0;
        int needs = (flags & OpenFlags.AccessMode) switch { OpenFlags.ReadOnly => Read, OpenFlags.WriteOnly => Write, _ => Read | Write };
        return (flags & OpenFlags.TmpFileBit) != 0 ? Write | Execute : (flags & OpenFlags.Truncate) != 0 ? needs | Write : needs;
    }
}

/// <summary>Owner and mode of an object, as far as permissions go.</summary>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="Mode">Type and permission bits.</param>
/// <param name="Known">False for what has no owner that we could know: synthetic files, devices of the host, and (where viv is not root) links, sockets and fifos.</param>
internal readonly record struct Permissions(uint Uid, uint Gid, uint Mode, bool Known)
{
    private const uint Sticky = 0x200, AnyExecute = 0x49;

    public bool IsDirectory => (Mode & FileType.Mask) == FileType.Directory;

    /// <summary>Those of the object behind a descriptor.</summary>
    /// <returns>0 or negative errno.</returns>
    public static long Of(int descriptor, Ownership? owners, out Permissions permissions)
    {
        permissions = default;
        if (owners == null) return 0;
        long status = owners.Get(descriptor, out var record, out var host);
        if (status < 0) return status;
        uint hostType = host.Mode & FileType.Mask;
        bool known = hostType is not (FileType.Character or FileType.Block) && (owners.Real || status > 0 || hostType is FileType.Regular or FileType.Directory);
        permissions = new Permissions(record.Uid, record.Gid, record.Mode, known);
        return 0;
    }

    /// <summary>Whether <paramref name="who"/> may do all of <paramref name="needs"/>: root everything but to execute what nobody may.</summary>
    public bool Allow(Credentials who, int needs)
    {
        if (!Known) return true;
        if (who.FsUid == 0) return (needs & Access.Execute) == 0 || IsDirectory || (Mode & AnyExecute) != 0;
        uint bits = who.FsUid == Uid ? Mode >> 6 : who.FsGid == Gid || who.IsIn(Gid) ? Mode >> 3 : Mode;
        return (bits & (uint)needs) == (uint)needs;
    }

    /// <summary>Whether in this directory names are safe from all but their owners and the directory's, and <paramref name="who"/> is neither.</summary>
    public bool Protects(in Permissions named, Credentials who) =>
        Known && (Mode & Sticky) != 0 && who.FsUid != 0 && who.FsUid != Uid && (!named.Known || who.FsUid != named.Uid);

    /// <summary>Whether <paramref name="who"/> may give this file a further name (fs.protected_hardlinks).</summary>
    public bool AllowsLinks(Credentials who) =>
        !Known || who.FsUid == 0 || who.FsUid == Uid
        || (Mode & FileType.Mask) == FileType.Regular && (Mode & 0x800) == 0 && (Mode & 0x408) != 0x408 && Allow(who, Access.Read | Access.Write);
}

// Permissions on the way of a path and at its end. Who is root needs none of this: the host kernel's answer is the guest's.
public sealed partial class NameSpace
{
    /// <summary>Whether the guest's ids have to be looked at. In the host's own tree viv's rights are the guest's.</summary>
    internal bool Restricts(Credentials? who) => who is { FsUid: not 0 } && Owners != null;

    private bool Restricts(in PathRequest request) => Restricts(request.Who ?? request.Caller?.Credentials);

    // The object at a canonical path, not followed. The path may be a part of a longer one.
    private long Look(in PathBuffer path, int length, in PathRequest request, out Permissions permissions)
    {
        permissions = default;
        byte behind = path.Canonical[length];
        var fileSystem = Locate(path, length, out long address, out var inside);
        var result = new PathResult { Inside = inside };
        long status = fileSystem.Finish(new PathRequest(PathIntent.Handle, follow: false) { Caller = request.Caller }, -1, address, inside, ref result);
        if (status >= 0 && result.Node == null && !result.IsDevice) status = Permissions.Of(result.Descriptor, Owners, out permissions);
        else if (result.Node != null) permissions = new Permissions(0, 0, result.Node.Mode, false);
        result.Dispose();
        path.Canonical[length] = behind;
        return Math.Min(status, 0);
    }

    // Whether names may be looked up in a directory of the way. What is no directory, or not there, gets its own error later.
    private long MaySearch(in PathBuffer path, int length, in PathRequest request)
    {
        // The root's mode is that of whatever directory on the host it is: everybody may enter.
        if (length == 0 || Look(path, length, request, out var directory) < 0 || !directory.IsDirectory) return 0;
        return directory.Allow((request.Who ?? request.Caller!.Credentials), Access.Execute) ? 0 : -Errno.EACCES;
    }

    // Before a walk ends in an open, or in a name that is made or removed: 0, or the error that Linux has for who may not.
    private long MayFinish(in PathBuffer path, int length, in PathRequest request)
    {
        var who = request.Who ?? request.Caller!.Credentials;
        int end = length;
        while (end > 0 && path.Canonical[end - 1] == '/') end--;
        int parentLength = Math.Max(0, path.Canonical[..end].LastIndexOf((byte)'/'));
        switch (request.Intent)
        {
            case PathIntent.Open:
            {
                long status = Look(path, end, request, out var found);
                if (status == -Errno.ENOENT && (request.Flags & (OpenFlags.Create | OpenFlags.Path)) == OpenFlags.Create)
                    return Look(path, parentLength, request, out var parent) == 0 && !parent.Allow(who, Access.Write | Access.Execute) ? -Errno.EACCES : 0;
                if (status < 0 || (request.Flags & OpenFlags.Path) != 0 || (found.Mode & FileType.Mask) == FileType.Link) return 0;
                if ((request.Flags & (OpenFlags.Create | OpenFlags.Exclusive)) == (OpenFlags.Create | OpenFlags.Exclusive)) return 0;
                int needs = Access.OfOpen(request.Flags);
                if (found.IsDirectory && (needs & Access.Write) != 0 && (request.Flags & OpenFlags.TmpFileBit) == 0) return 0;
                if (!found.Allow(who, needs)) return -Errno.EACCES;
                return (request.Flags & OpenFlags.NoATime) != 0 && found.Known && found.Uid != who.FsUid ? -Errno.EPERM : 0;
            }
            case PathIntent.Parent:
            {
                long status = Look(path, end, request, out var named);
                if (status == 0 ? !request.Removes : !request.Makes || status != -Errno.ENOENT) return 0;
                if (Look(path, parentLength, request, out var parent) < 0 || !parent.IsDirectory) return 0;
                if (!parent.Allow(who, Access.Write | Access.Execute)) return -Errno.EACCES;
                return status == 0 && parent.Protects(named, who) ? -Errno.EPERM : 0;
            }
            default:
                return 0;
        }
    }

    // At the end of a walk for the object itself.
    private long MayUse(in PathRequest request, ref PathResult result)
    {
        if (request.Needs == 0 || result.CanonicalLength == 0 && request.Needs == Access.Execute || request.Intent != PathIntent.Handle || result.Node != null || result.IsDevice) return 0;
        if (Permissions.Of(result.Descriptor, Owners, out var permissions) < 0 || permissions.Allow(request.Who ?? request.Caller!.Credentials, request.Needs)) return 0;
        result.Dispose();
        return -Errno.EACCES;
    }
}
