using System.Text;

namespace Vivarium.Images.Host;

/// <summary>An open descriptor of the host that is closed once. Not thread-safe.</summary>
internal sealed class Descriptor : IDisposable
{
    private int _number;

    private Descriptor(int number) => _number = number;

    public int Number => _number >= 0 ? _number : throw new ObjectDisposedException(nameof(Descriptor));

    /// <summary>Opens relative to a directory.</summary>
    /// <returns>Null with <see cref="Libc.Errno"/> set where it fails.</returns>
    public static Descriptor? TryOpenAt(int directory, byte[] name, int flags, uint mode = 0)
    {
        int number;
        do
            number = Libc.OpenAt(directory, name, flags | Libc.O_CLOEXEC, mode);
        while (number < 0 && Libc.Errno == Libc.EINTR);
        return number < 0 ? null : new Descriptor(number);
    }

    /// <summary>Opens below <paramref name="root"/>, which is the root of symlinks and <c>..</c> on the way.</summary>
    /// <returns>Null with <see cref="Libc.Errno"/> set where it fails.</returns>
    public static Descriptor? TryOpenBelow(int root, byte[] path, int flags, ulong resolve = Libc.RESOLVE_IN_ROOT | Libc.RESOLVE_NO_MAGICLINKS)
    {
        var how = new Libc.OpenHow { Flags = (ulong)(flags | Libc.O_CLOEXEC), Resolve = resolve };
        for (int attempt = 0; ; attempt++)
        {
            int number = Libc.OpenAt2(root, path, how);
            if (number >= 0)
                return new Descriptor(number);
            // EAGAIN: something was renamed meanwhile, and the kernel could not be sure that the path stays below.
            if ((Libc.Errno is not (Libc.EINTR or Libc.EWOULDBLOCK)) || attempt == 1000)
                return null;
        }
    }

    /// <summary>Opens or throws what a person can act on.</summary>
    public static Descriptor Open(string path, int flags, uint mode = 0) =>
        TryOpenAt(Libc.AT_FDCWD, HostPath.Zero(path), flags, mode)
        ?? throw new ImageException($"cannot open '{path}': {Libc.Message(Libc.Errno)}");

    public void Dispose()
    {
        if (_number >= 0)
            Libc.Close(_number);
        _number = -1;
    }

    /// <summary>The names in a directory, without <c>.</c> and <c>..</c>, in byte order. The descriptor must be fresh.</summary>
    public List<byte[]> ReadNames()
    {
        var names = new List<byte[]>();
        var buffer = new byte[32 * 1024];
        for (;;)
        {
            int count = (int)Libc.GetDents(Number, buffer, (nuint)buffer.Length);
            if (count < 0)
                throw new ImageException($"cannot read a directory: {Libc.Message(Libc.Errno)}");
            if (count == 0)
                break;
            // struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name.
            for (int at = 0; at < count;)
            {
                int length = BitConverter.ToUInt16(buffer, at + 16);
                var name = buffer.AsSpan(at + 19, length - 19);
                name = name[..name.IndexOf((byte)0)];
                if (!name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8))
                    names.Add(HostPath.Zero(name));
                at += length;
            }
        }

        names.Sort((a, b) => a.AsSpan().SequenceCompareTo(b));
        return names;
    }

    public override string ToString() => new StringBuilder("descriptor ").Append(_number).ToString();
}
