using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>What stat tells of a file, between the host's layout (arch/x86/include/uapi/asm/stat.h) and the guest's (asm-generic/stat.h).</summary>
internal struct FileStat
{
    /// <summary>Size of the guest's struct stat.</summary>
    public const int GuestSize = 128;

    /// <summary>Size of the host's struct stat.</summary>
    public const int HostSize = 144;

    /// <summary>Size of struct statx, which is the same everywhere.</summary>
    public const int StatXSize = 256;

    public ulong Device, Inode, RawDevice;
    public uint Mode, Links, Uid, Gid;
    public long Size, BlockSize, Blocks;
    public long AccessSeconds, AccessNanoseconds, ModifySeconds, ModifyNanoseconds, ChangeSeconds, ChangeNanoseconds;

    /// <summary>fstat of a host descriptor: 0 or negative errno.</summary>
    public static long OfDescriptor(int descriptor, out FileStat stat)
    {
        using var buffer = HostScratch.Rent(HostSize);
        long status = HostSyscall.Invoke(HostCall.FStat, descriptor, buffer.Address);
        stat = status < 0 ? default : FromHost(buffer.Span);
        return status;
    }

    /// <summary>newfstatat: 0 or negative errno.</summary>
    public static long OfPath(int descriptor, long path, int flags, out FileStat stat)
    {
        using var buffer = HostScratch.Rent(HostSize);
        long status = HostSyscall.Invoke(HostCall.NewFStatAt, descriptor, path, buffer.Address, flags);
        stat = status < 0 ? default : FromHost(buffer.Span);
        return status;
    }

    /// <summary>Reads the host's struct stat.</summary>
    public static FileStat FromHost(ReadOnlySpan<byte> host) => new()
    {
        Device = U64(host, 0),
        Inode = U64(host, 8),
        Links = (uint)U64(host, 16),
        Mode = U32(host, 24),
        Uid = U32(host, 28),
        Gid = U32(host, 32),
        RawDevice = U64(host, 40),
        Size = (long)U64(host, 48),
        BlockSize = (long)U64(host, 56),
        Blocks = (long)U64(host, 64),
        AccessSeconds = (long)U64(host, 72),
        AccessNanoseconds = (long)U64(host, 80),
        ModifySeconds = (long)U64(host, 88),
        ModifyNanoseconds = (long)U64(host, 96),
        ChangeSeconds = (long)U64(host, 104),
        ChangeNanoseconds = (long)U64(host, 112),
    };

    [StructLayout(LayoutKind.Sequential)]
    private struct HostLayout
    {
        public ulong Device, Inode, Links;
        public uint Mode, Uid, Gid, Padding;
        public ulong RawDevice, Size, BlockSize, Blocks;
        public ulong Times0, Times1, Times2, Times3, Times4, Times5;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct GuestLayout
    {
        public ulong Device, Inode;
        public uint Mode, Links, Uid, Gid;
        public ulong RawDevice, Padding1, Size;
        public uint BlockSize, Padding2;
        public ulong Blocks;
        public ulong Times0, Times1, Times2, Times3, Times4, Times5, Unused;
    }

    /// <summary>The host's struct stat as the guest's: the fast path of stat.</summary>
    public static void HostToGuest(ReadOnlySpan<byte> host, Span<byte> guest)
    {
        ref readonly var from = ref MemoryMarshal.AsRef<HostLayout>(host);
        ref var to = ref MemoryMarshal.AsRef<GuestLayout>(guest);
        to.Device = from.Device;
        to.Inode = from.Inode;
        to.Mode = from.Mode;
        to.Links = (uint)from.Links;
        to.Uid = from.Uid;
        to.Gid = from.Gid;
        to.RawDevice = from.RawDevice;
        to.Padding1 = 0;
        to.Size = from.Size;
        to.BlockSize = (uint)from.BlockSize;
        to.Padding2 = 0;
        to.Blocks = from.Blocks;
        to.Times0 = from.Times0;
        to.Times1 = from.Times1;
        to.Times2 = from.Times2;
        to.Times3 = from.Times3;
        to.Times4 = from.Times4;
        to.Times5 = from.Times5;
        to.Unused = 0;
    }

    /// <summary>Writes the guest's struct stat, all 128 bytes.</summary>
    public readonly void ToGuest(Span<byte> guest)
    {
        guest[..GuestSize].Clear();
        Put(guest, 0, Device);
        Put(guest, 8, Inode);
        Put(guest, 16, Mode);
        Put(guest, 20, Links);
        Put(guest, 24, Uid);
        Put(guest, 28, Gid);
        Put(guest, 32, RawDevice);
        Put(guest, 48, (ulong)Size);
        Put(guest, 56, (uint)BlockSize);
        Put(guest, 64, (ulong)Blocks);
        Put(guest, 72, (ulong)AccessSeconds);
        Put(guest, 80, (ulong)AccessNanoseconds);
        Put(guest, 88, (ulong)ModifySeconds);
        Put(guest, 96, (ulong)ModifyNanoseconds);
        Put(guest, 104, (ulong)ChangeSeconds);
        Put(guest, 112, (ulong)ChangeNanoseconds);
    }

    /// <summary>Writes struct statx with the basic fields (STATX_BASIC_STATS).</summary>
    public readonly void ToStatX(Span<byte> statx)
    {
        statx[..StatXSize].Clear();
        Put(statx, 0, 0x7FFu);
        Put(statx, 4, (uint)BlockSize);
        Put(statx, 16, Links);
        Put(statx, 20, Uid);
        Put(statx, 24, Gid);
        BinaryPrimitives.WriteUInt16LittleEndian(statx[28..], (ushort)Mode);
        Put(statx, 32, Inode);
        Put(statx, 40, (ulong)Size);
        Put(statx, 48, (ulong)Blocks);
        Time(statx, 64, AccessSeconds, AccessNanoseconds);
        Time(statx, 96, ChangeSeconds, ChangeNanoseconds);
        Time(statx, 112, ModifySeconds, ModifyNanoseconds);
        Put(statx, 128, Major(RawDevice));
        Put(statx, 132, Minor(RawDevice));
        Put(statx, 136, Major(Device));
        Put(statx, 140, Minor(Device));
    }

    internal static uint Major(ulong device) => (uint)(device >> 8 & 0xFFF | device >> 32 & 0xFFFFF000);
    internal static uint Minor(ulong device) => (uint)(device & 0xFF | device >> 12 & 0xFFFFFF00);

    private static void Time(Span<byte> to, int at, long seconds, long nanoseconds)
    {
        Put(to, at, (ulong)seconds);
        Put(to, at + 8, (uint)nanoseconds);
    }

    private static ulong U64(ReadOnlySpan<byte> from, int at) => BinaryPrimitives.ReadUInt64LittleEndian(from[at..]);
    private static uint U32(ReadOnlySpan<byte> from, int at) => BinaryPrimitives.ReadUInt32LittleEndian(from[at..]);
    private static void Put(Span<byte> to, int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(to[at..], value);
    private static void Put(Span<byte> to, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(to[at..], value);
}
