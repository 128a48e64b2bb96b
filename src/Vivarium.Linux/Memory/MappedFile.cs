using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Memory;

/// <summary>A file that is mapped somewhere: a host descriptor of its own, kept while mappings use it (fork maps it again).</summary>
/// <remarks>Counted: who creates one holds a reference; each <see cref="Vma"/> in a table holds one.</remarks>
public sealed class MappedFile
{
    private const int SysFstat = 5, SysClose = 3, SysFcntl = 72, SysFtruncate = 77, SysMemfdCreate = 319;
    private const int F_DUPFD_CLOEXEC = 1030;

    private int _references = 1;

    private MappedFile(int descriptor, string path, int openFlags)
    {
        HostDescriptor = descriptor;
        Path = path;
        OpenFlags = openFlags;
    }

    public int HostDescriptor { get; }

    /// <summary>As /proc/self/maps shows it.</summary>
    public string Path { get; }

    /// <summary>O_ACCMODE of the guest's descriptor.</summary>
    public int OpenFlags { get; }

    /// <summary>What the contents are known by; meaningful for regular files.</summary>
    public CodeIdentity Identity { get; private init; }

    public bool IsRegular { get; private init; }

    /// <summary>Holds private memory that a fork froze.</summary>
    public bool IsFrozen { get; private init; }

    /// <summary>Made by us, of memory.</summary>
    public bool IsMemory { get; private init; }

    /// <summary>Memory that it takes.</summary>
    public ulong MemoryBytes()
    {
        var buffer = HostBuffer.Current;
        // st_blocks of x86-64's struct stat stands at 64.
        return HostSyscall.Invoke(SysFstat, HostDescriptor, buffer.Address) < 0 ? 0 : BinaryPrimitives.ReadUInt64LittleEndian(buffer.Bytes[64..]) * 512;
    }

    /// <summary>References that there are: each mapping in any address space holds one.</summary>
    public int References => Volatile.Read(ref _references);

    /// <summary>Takes a duplicate of a host descriptor; null with a negative errno.</summary>
    public static MappedFile? Open(int hostDescriptor, string path, int openFlags, out int error)
    {
        error = Stat(hostDescriptor, out var identity, out bool regular);
        if (error < 0) return null;
        // High numbers, so that descriptors 0..n stay for what is really open.
        long copy = HostSyscall.Invoke(SysFcntl, hostDescriptor, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
        {
            error = (int)copy;
            return null;
        }
        return new MappedFile((int)copy, path, openFlags & 3) { Identity = identity, IsRegular = regular };
    }

    /// <summary>An empty, sparse file for memory that a fork freezes; null with a negative errno.</summary>
    public static MappedFile? CreateFrozen(out int error) => Create("viv-frozen\0"u8, 1UL << 46, true, out error);

    /// <summary>Memory without a name that processes share: what backs MAP_SHARED|MAP_ANONYMOUS.</summary>
    public static MappedFile? CreateAnonymous(ulong size, out int error, string path = "/dev/zero (deleted)") => Create("viv-shared\0"u8, size, false, out error, path);

    private static MappedFile? Create(ReadOnlySpan<byte> name, ulong size, bool frozen, out int error, string path = "")
    {
        var buffer = HostBuffer.Current;
        name.CopyTo(buffer.Bytes);
        long descriptor = HostSyscall.Invoke(SysMemfdCreate, buffer.Address, 1 /* MFD_CLOEXEC */);
        if (descriptor >= 0)
        {
            long grown = HostSyscall.Invoke(SysFtruncate, descriptor, (long)size);
            if (grown < 0)
            {
                HostSyscall.Invoke(SysClose, descriptor);
                descriptor = grown;
            }
        }
        error = (int)Math.Min(descriptor, 0);
        if (descriptor < 0) return null;
        Stat((int)descriptor, out var identity, out _);
        return new MappedFile((int)descriptor, path, 2) { Identity = identity, IsMemory = true, IsFrozen = frozen };
    }

    /// <summary>Whether this is the file behind another descriptor, so that one duplicate serves both.</summary>
    public bool Matches(in CodeIdentity identity, string path, int openFlags) =>
        Identity == identity && OpenFlags == (openFlags & 3) && Path == path;

    /// <summary>Identity and kind of a host descriptor; 0 or a negative errno.</summary>
    public static int Stat(int hostDescriptor, out CodeIdentity identity, out bool regular)
    {
        var buffer = HostBuffer.Current;
        long result = HostSyscall.Invoke(SysFstat, hostDescriptor, buffer.Address);
        if (result < 0)
        {
            identity = default;
            regular = false;
            return (int)result;
        }
        // x86-64 struct stat: st_dev 0, st_ino 8, st_mode 24, st_size 48, st_mtim 88.
        ReadOnlySpan<byte> stat = buffer.Bytes;
        long seconds = BinaryPrimitives.ReadInt64LittleEndian(stat[88..]);
        long nanoseconds = BinaryPrimitives.ReadInt64LittleEndian(stat[96..]);
        identity = new CodeIdentity(
            BinaryPrimitives.ReadUInt64LittleEndian(stat), BinaryPrimitives.ReadUInt64LittleEndian(stat[8..]),
            BinaryPrimitives.ReadUInt64LittleEndian(stat[48..]), unchecked(seconds * 1_000_000_000 + nanoseconds));
        regular = (BinaryPrimitives.ReadUInt32LittleEndian(stat[24..]) & 0xF000) == 0x8000;
        return 0;
    }

    public void AddReference() => Interlocked.Increment(ref _references);

    public void Release()
    {
        if (Interlocked.Decrement(ref _references) == 0) HostSyscall.Invoke(SysClose, HostDescriptor);
    }
}
