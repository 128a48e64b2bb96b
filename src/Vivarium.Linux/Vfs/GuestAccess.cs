using System.Buffers.Binary;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>Guest buffers as arguments of host syscalls.</summary>
internal static class GuestAccess
{
    /// <summary>The host address of a guest range; false where it leaves the window. What is not mapped inside, the host kernel answers with EFAULT.</summary>
    public static bool TryHost(this GuestThread thread, ulong address, ulong length, out long host)
    {
        var window = thread.Window;
        host = (long)(window.HostBase + address);
        return address <= window.Size && length <= window.Size - address;
    }

    /// <summary>As <see cref="TryHost"/>, but NULL stays NULL.</summary>
    public static bool TryHostOrNull(this GuestThread thread, ulong address, ulong length, out long host)
    {
        if (address != 0) return thread.TryHost(address, length, out host);
        host = 0;
        return true;
    }

    /// <summary>Writes a 32-bit number for the guest: 0 or -EFAULT.</summary>
    public static long Put32(this GuestThread thread, ulong address, uint value) => thread.Window.TryStore32(address, value) ? 0 : -Errno.EFAULT;

    /// <summary>SIGPIPE for the calling thread.</summary>
    public static void BrokenPipe(GuestThread thread) => thread.RaiseSelf(Signals.Signal.SIGPIPE);

    /// <summary>A signal mask for the time of the syscall: 0, or -ERESTARTNOHAND where it lets a signal through that waits already.</summary>
    public static long TemporaryMask(GuestThread thread, ulong mask)
    {
        thread.SetTemporaryMask(mask);
        return Volatile.Read(ref thread.Hart.State.ExitRequest) != 0 ? -Errno.ERESTARTNOHAND : 0;
    }

    /// <summary>Copies to the guest: 0 or -EFAULT.</summary>
    public static long Put(this GuestThread thread, ulong address, ReadOnlySpan<byte> bytes) =>
        thread.Window.Write(address, bytes) == bytes.Length ? 0 : -Errno.EFAULT;

    /// <summary>Copies from the guest: 0 or -EFAULT.</summary>
    public static long Get(this GuestThread thread, ulong address, Span<byte> bytes) =>
        thread.Window.Read(address, bytes) == bytes.Length ? 0 : -Errno.EFAULT;

    /// <summary>Reads a timespec: its nanoseconds (saturated), -1 for a NULL pointer; status 0, -EFAULT or -EINVAL.</summary>
    public static long GetTimeout(this GuestThread thread, ulong address, out long nanoseconds)
    {
        nanoseconds = -1;
        if (address == 0) return 0;
        Span<byte> bytes = stackalloc byte[16];
        if (thread.Get(address, bytes) < 0) return -Errno.EFAULT;
        long seconds = BinaryPrimitives.ReadInt64LittleEndian(bytes), fraction = BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]);
        if (seconds < 0 || (ulong)fraction >= 1_000_000_000) return -Errno.EINVAL;
        nanoseconds = seconds > long.MaxValue / 1_000_000_000 - 1 ? long.MaxValue : seconds * 1_000_000_000 + fraction;
        return 0;
    }

    /// <summary>A host result that a kick ended, for a syscall that Linux restarts.</summary>
    public static long Restartable(long result) => result == -Errno.EINTR ? -Errno.ERESTARTSYS : result;

    /// <summary>A host result that a kick ended, for a syscall that Linux restarts only where no handler runs.</summary>
    public static long NotRestartable(long result) => result is -Errno.EINTR or -Errno.ERESTARTSYS ? -Errno.ERESTARTNOHAND : result;

    /// <summary>A new descriptor for a host descriptor (owned): its number, or negative errno with the host descriptor closed.</summary>
    public static long Install(this GuestThread thread, long hostDescriptor, bool closeOnExec, NameSpace? space = null, SyntheticNode? node = null, FileLayer? layer = null)
    {
        if (hostDescriptor < 0) return hostDescriptor;
        var file = new OpenFile((int)hostDescriptor, space, node, layer);
        int fd = thread.Process.Files.Install(file, closeOnExec, thread.Process.Limits.Soft(ResourceLimits.OpenFiles));
        if (fd < 0) file.Release();
        return fd;
    }
}

/// <summary>A guest's iovec array, translated to host addresses.</summary>
internal readonly ref struct HostVectors
{
    /// <summary>IOV_MAX.</summary>
    public const int Maximum = 1024;

    private readonly ScratchLease _lease;

    private HostVectors(ScratchLease lease, int count)
    {
        _lease = lease;
        Count = count;
    }

    public int Count { get; }

    /// <summary>Host address of the translated array.</summary>
    public long Address => _lease.Address;

    /// <summary>Reads and translates: 0, -EINVAL (too many, or a length above SSIZE_MAX) or -EFAULT.</summary>
    public static long Read(GuestThread thread, ulong address, ulong count, out HostVectors vectors)
    {
        vectors = default;
        if (count > Maximum) return -Errno.EINVAL;
        var lease = HostScratch.Rent((int)count * 16 + 16);
        var span = lease.Span[..((int)count * 16)];
        long status = count == 0 ? 0 : thread.Get(address, span);
        for (int i = 0; i < (int)count && status == 0; i++)
        {
            var one = span[(i * 16)..];
            ulong length = BinaryPrimitives.ReadUInt64LittleEndian(one[8..]);
            if ((long)length < 0) status = -Errno.EINVAL;
            else if (!thread.TryHost(BinaryPrimitives.ReadUInt64LittleEndian(one), length, out long host)) status = -Errno.EFAULT;
            else BinaryPrimitives.WriteInt64LittleEndian(one, host);
        }
        if (status < 0)
        {
            lease.Dispose();
            return status;
        }
        vectors = new HostVectors(lease, (int)count);
        return 0;
    }

    /// <summary>Bytes in all of them.</summary>
    public ulong Total
    {
        get
        {
            ulong total = 0;
            for (int i = 0; i < Count; i++) total += BinaryPrimitives.ReadUInt64LittleEndian(_lease.Span[(i * 16 + 8)..]);
            return total;
        }
    }

    /// <summary>Takes away what is more than <paramref name="length"/> bytes, from the end.</summary>
    public void Shorten(ulong length)
    {
        for (int i = 0; i < Count; i++)
        {
            var field = _lease.Span[(i * 16 + 8)..];
            ulong one = Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(field), length);
            BinaryPrimitives.WriteUInt64LittleEndian(field, one);
            length -= one;
        }
    }

    public void Dispose()
    {
        if (_lease.Address != 0) _lease.Dispose();
    }
}
