using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>A name for a host syscall, NUL-terminated in scratch memory.</summary>
internal readonly ref struct HostName
{
    private readonly ScratchLease _lease;

    private HostName(ScratchLease lease) => _lease = lease;

    /// <summary>Host address of the name.</summary>
    public long Address => _lease.Address;

    public static HostName Of(ReadOnlySpan<byte> name)
    {
        var lease = HostScratch.Rent(name.Length + 1);
        name.CopyTo(lease.Span);
        lease.Span[name.Length] = 0;
        return new HostName(lease);
    }

    /// <summary><c>/proc/self/fd/N</c>: the object behind a descriptor, be it O_PATH.</summary>
    public static HostName OfDescriptor(int descriptor)
    {
        var lease = HostScratch.Rent(32);
        HostPaths.WriteLinkName(descriptor, lease.Span);
        return new HostName(lease);
    }

    public void Dispose() => _lease.Dispose();
}
