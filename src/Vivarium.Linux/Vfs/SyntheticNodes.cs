using System.Text;

namespace Vivarium.Linux.Vfs;

/// <summary>A directory with a fixed set of children.</summary>
internal sealed class FixedDirectory : SyntheticNode
{
    private readonly Dictionary<string, SyntheticNode> _children = new(StringComparer.Ordinal);

    public FixedDirectory(string path, uint permissions, params ReadOnlySpan<SyntheticNode> children) : base(path, FileType.Directory | permissions)
    {
        foreach (var child in children) _children.Add(child.NameOf, child);
    }

    internal override SyntheticNode? Lookup(string name, GuestProcess? caller) => _children.GetValueOrDefault(name);
    internal override IEnumerable<SyntheticNode> List(GuestProcess? caller) => _children.Values;
}

/// <summary>A directory whose children are made on demand.</summary>
internal sealed class DynamicDirectory(string path, uint permissions, Func<string, GuestProcess?, SyntheticNode?> lookup,
    Func<GuestProcess?, IEnumerable<SyntheticNode>> list) : SyntheticNode(path, FileType.Directory | permissions)
{
    internal override SyntheticNode? Lookup(string name, GuestProcess? caller) => lookup(name, caller);
    internal override IEnumerable<SyntheticNode> List(GuestProcess? caller) => list(caller);
}

/// <summary>A regular file with text or bytes that are made when it is opened.</summary>
internal sealed class ContentFile : SyntheticNode
{
    private readonly Func<GuestProcess?, byte[]> _contents;

    public ContentFile(string path, Func<GuestProcess?, string> text, uint permissions = 0x124) : base(path, FileType.Regular | permissions) =>
        _contents = caller => Encoding.Latin1.GetBytes(text(caller));

    public ContentFile(string path, Func<GuestProcess?, byte[]> bytes, uint permissions = 0x124) : base(path, FileType.Regular | permissions) =>
        _contents = bytes;

    /// <summary>What a write does: 0 or negative errno.</summary>
    public Func<GuestProcess, string, long>? Writer { get; init; }

    internal override bool TakesWrites => Writer != null;

    internal override long Accept(GuestProcess caller, string text) => Writer!(caller, text);

    internal override byte[] Contents(GuestProcess? caller) => _contents(caller);
}

/// <summary>A symbolic link by name.</summary>
internal sealed class LinkNode(string path, Func<GuestProcess?, string?> target) : SyntheticNode(path, FileType.Link | 0x1FF)
{
    public LinkNode(string path, string target) : this(path, _ => target)
    {
    }

    internal override string? Target(GuestProcess? caller) => target(caller);
}

/// <summary>A link to an open file: <c>/proc/PID/fd/N</c>.</summary>
internal sealed class DescriptorLink(string path, GuestProcess process, int descriptor) : SyntheticNode(path, FileType.Link | 0x1C0)
{
    internal override string? Target(GuestProcess? caller)
    {
        var file = process.Files.Acquire(descriptor);
        string? text = file?.Path;
        file?.Release();
        return text;
    }

    internal override OpenFile? Opened(GuestProcess? caller) => process.Files.Acquire(descriptor);
}

/// <summary>A name for an object of the host: devices, and files of the host's /proc that are the same for everybody.</summary>
internal sealed class HostNode(string path, string hostPath, uint mode) : SyntheticNode(path, mode)
{
    /// <summary>The host's object as it is; null where there is none.</summary>
    public static HostNode? At(string path, string hostPath)
    {
        using var buffer = PathBuffer.From(Encoding.Latin1.GetBytes(hostPath));
        return FileStat.OfPath(Vfs.At.FdCwd, buffer.Address, Vfs.At.SymlinkNoFollow, out var stat) < 0 ? null : new HostNode(path, hostPath, stat.Mode);
    }

    // A directory is listed here and not handed to the host, so that what is in it is looked up here too.
    internal override string? HostPath => IsDirectory || IsLink ? null : hostPath;

    internal override SyntheticNode? Lookup(string name, GuestProcess? caller) => IsDirectory ? At($"{Path}/{name}", $"{hostPath}/{name}") : null;

    internal override IEnumerable<SyntheticNode> List(GuestProcess? caller)
    {
        if (!IsDirectory) return [];
        try
        {
            return Directory.GetFileSystemEntries(hostPath).Select(entry => At($"{Path}/{System.IO.Path.GetFileName(entry)}", entry)).OfType<SyntheticNode>();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    internal override string? Target(GuestProcess? caller)
    {
        if (!IsLink) return null;
        using var buffer = PathBuffer.From(Encoding.Latin1.GetBytes(hostPath));
        long length = Host.HostSyscall.Invoke(HostCall.ReadLinkAt, Vfs.At.FdCwd, buffer.Address, buffer.LinkAddress, PathBuffer.Maximum);
        return length <= 0 ? null : Encoding.Latin1.GetString(buffer.Link[..(int)length]);
    }
}
