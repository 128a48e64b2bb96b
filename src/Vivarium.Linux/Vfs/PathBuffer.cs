using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>A path of the guest, NUL-terminated in host memory, with the work space of a walk.</summary>
internal readonly ref struct PathBuffer
{
    /// <summary>PATH_MAX: bytes of a path with its NUL.</summary>
    public const int Maximum = 4096;

    private const int WorkSize = 2 * Maximum;
    private const int CanonicalAt = Maximum + 16, RestAt = CanonicalAt + WorkSize, LinkAt = RestAt + WorkSize, Total = LinkAt + WorkSize;

    private readonly ScratchLease _lease;

    private PathBuffer(ScratchLease lease, int length)
    {
        _lease = lease;
        Length = length;
    }

    public int Length { get; }

    /// <summary>Host address of the path.</summary>
    public long Address => _lease.Address;

    /// <summary>The path without its NUL.</summary>
    public Span<byte> Path => _lease.Span[..Length];

    public long CanonicalAddress => _lease.Address + CanonicalAt;
    public Span<byte> Canonical => _lease.Span.Slice(CanonicalAt, WorkSize);
    public Span<byte> Rest => _lease.Span.Slice(RestAt, WorkSize);
    public long LinkAddress => _lease.Address + LinkAt;
    public Span<byte> Link => _lease.Span.Slice(LinkAt, WorkSize);

    /// <summary>Reads a path from guest memory: 0, -EFAULT or -ENAMETOOLONG.</summary>
    public static long Read(MemoryWindow window, ulong address, out PathBuffer path)
    {
        var lease = HostScratch.Rent(Total);
        int length = window.ReadCString(address, lease.Span[..Maximum]);
        if (length is < 0 or >= Maximum)
        {
            lease.Dispose();
            path = default;
            return length < 0 ? length : -Errno.ENAMETOOLONG;
        }
        lease.Span[length] = 0;
        path = new PathBuffer(lease, length);
        return 0;
    }

    /// <summary>A path from our own code; cut at <see cref="Maximum"/> - 1 bytes.</summary>
    public static PathBuffer From(ReadOnlySpan<byte> text)
    {
        var lease = HostScratch.Rent(Total);
        text = text[..Math.Min(text.Length, Maximum - 1)];
        text.CopyTo(lease.Span);
        lease.Span[text.Length] = 0;
        return new PathBuffer(lease, text.Length);
    }

    public void Dispose()
    {
        if (_lease.Address != 0) _lease.Dispose();
    }
}
