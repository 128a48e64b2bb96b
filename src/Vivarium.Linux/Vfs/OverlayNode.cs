using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;

namespace Vivarium.Linux.Vfs;

/// <summary>What the upper layer of an overlay holds under a name.</summary>
internal enum OverlayKind : byte
{
    /// <summary>A file, link, fifo or socket that hides what is below.</summary>
    File,

    /// <summary>A directory; the lower one shows through unless <see cref="OverlayNode.Opaque"/>.</summary>
    Directory,

    /// <summary>The name is removed.</summary>
    Whiteout,
}

/// <summary>A name in the upper layer. The tree of nodes mirrors that layer in memory, so that a look-up that ends below costs no syscall above.</summary>
/// <remarks>Read without locks; changed under the overlay's lock.</remarks>
internal sealed class OverlayNode(OverlayKind kind)
{
    private ConcurrentDictionary<byte[], OverlayNode>? _children;

    public OverlayKind Kind { get; } = kind;

    /// <summary>Directory: nothing of the lower layer is in it.</summary>
    public bool Opaque { get; set; }

    /// <summary>The inode number that readdir shows; 0 for the host's own.</summary>
    public ulong Inode { get; init; }

    /// <summary>DT_* that readdir shows; 0 for the host's own.</summary>
    public byte Type { get; init; }

    public OverlayNode? Child(ReadOnlySpan<byte> name)
    {
        var children = Volatile.Read(ref _children);
        return children != null && children.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(name, out var child) ? child : null;
    }

    public bool HasChildren => Volatile.Read(ref _children) is { IsEmpty: false };

    /// <summary>A moment's view of all names.</summary>
    public IEnumerable<KeyValuePair<byte[], OverlayNode>> Children => Volatile.Read(ref _children) ?? Enumerable.Empty<KeyValuePair<byte[], OverlayNode>>();

    public void Set(ReadOnlySpan<byte> name, OverlayNode child) =>
        (_children ??= new ConcurrentDictionary<byte[], OverlayNode>(1, 7, ByteNames.Comparer)).GetAlternateLookup<ReadOnlySpan<byte>>()[name] = child;

    public void Remove(ReadOnlySpan<byte> name) => _children?.GetAlternateLookup<ReadOnlySpan<byte>>().TryRemove(name, out _);
}

/// <summary>Names as keys, looked up by spans.</summary>
internal sealed class ByteNames : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
{
    public static readonly ByteNames Comparer = new();

    public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);
    public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);
    public int GetHashCode([DisallowNull] byte[] obj) => GetHashCode(obj.AsSpan());
    public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();

    public int GetHashCode(ReadOnlySpan<byte> alternate)
    {
        uint hash = 2166136261;
        foreach (byte c in alternate) hash = (hash ^ c) * 16777619;
        return (int)(hash ^ hash >> 15);
    }
}
