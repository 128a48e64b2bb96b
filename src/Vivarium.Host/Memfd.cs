using System.Text;
using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

/// <summary>An anonymous file in memory (memfd_create), for memory that is mapped more than once. Closed on exec.</summary>
public sealed unsafe class Memfd : IDisposable
{
    private const int MfdCloseOnExec = 1;
    private int _descriptor;

    private Memfd(int descriptor, ulong size) => (_descriptor, Size) = (descriptor, size);

    /// <summary>Makes one of <paramref name="size"/> bytes of zeroes; memory is taken as pages are touched.</summary>
    /// <param name="name">Shown in /proc/PID/maps; at most 249 bytes.</param>
    /// <param name="size">Bytes.</param>
    /// <exception cref="OutOfMemoryException">The host refuses.</exception>
    public static Memfd Create(string name, ulong size)
    {
        Span<byte> text = stackalloc byte[250];
        text.Clear();
        Encoding.UTF8.TryGetBytes(name, text[..^1], out _);
        long result;
        fixed (byte* pinned = text) result = HostSyscall.Invoke(SysMemfdCreate, (long)pinned, MfdCloseOnExec);
        if (result < 0) throw new OutOfMemoryException($"cannot create memory file '{name}': errno {-result}");
        var file = new Memfd((int)result, 0);
        var resized = file.Resize(size);
        if (resized == 0) return file;
        file.Dispose();
        throw new OutOfMemoryException($"cannot size memory file '{name}' to {size} bytes: errno {-resized}");
    }

    /// <summary>The file descriptor; -1 after <see cref="Dispose"/>.</summary>
    public int Descriptor => _descriptor;

    /// <summary>Bytes.</summary>
    public ulong Size { get; private set; }

    /// <summary>Grows or shrinks it; 0 or a negative errno.</summary>
    public int Resize(ulong size)
    {
        var result = (int)HostSyscall.Invoke(SysFtruncate, _descriptor, (long)size);
        if (result == 0) Size = size;
        return result;
    }

    /// <summary>Closes the descriptor; mappings stay.</summary>
    public void Dispose()
    {
        var descriptor = Interlocked.Exchange(ref _descriptor, -1);
        if (descriptor >= 0) HostSyscall.Invoke(SysClose, descriptor);
    }
}
