using System.Buffers.Binary;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>Names of device nodes in directories: to the host they are regular files, so directories that have some are marked by an attribute, and
/// there getdents64 says what <c>stat</c> does. Directories without the mark cost one look.</summary>
internal static class DeviceNames
{
    private static ReadOnlySpan<byte> Attribute => "user.viv.nodes"u8;

    private const byte RegularEntry = 8;

    /// <summary>Notes that a directory (O_PATH or not) has a device node among its names, or had.</summary>
    public static void Mark(int directory)
    {
        using var name = HostName.OfDescriptor(directory);
        using var attribute = HostName.Of(Attribute);
        using var value = HostName.Of("1"u8);
        HostSyscall.Invoke(HostCall.SetXAttr, name.Address, attribute.Address, value.Address, 1, 0);
    }

    /// <summary>Whether it may have one.</summary>
    public static bool IsMarked(int directory)
    {
        using var name = HostName.OfDescriptor(directory);
        using var attribute = HostName.Of(Attribute);
        using var value = HostScratch.Rent(8);
        return HostSyscall.Invoke(HostCall.GetXAttr, name.Address, attribute.Address, value.Address, 8) > 0;
    }

    /// <summary>After a rename between directories: the mark comes along.</summary>
    public static void Renamed(int from, int to)
    {
        if (from != to && IsMarked(from) && !IsMarked(to)) Mark(to);
    }

    /// <summary>Corrects the types of entries (struct linux_dirent64) that the host has written into guest memory.</summary>
    public static void Correct(GuestThread thread, int directory, ulong address, int length)
    {
        if (length <= 0 || !IsMarked(directory)) return;
        using var entries = HostScratch.Rent(length + 1);
        if (!thread.Window.TryReadBytes(address, entries.Span[..length])) return;
        entries.Span[length] = 0;
        for (int at = 0; at + 19 < length;)
        {
            int size = BinaryPrimitives.ReadUInt16LittleEndian(entries.Span[(at + 16)..]);
            if (size < 20) return;
            if (entries.Span[at + 18] == RegularEntry && Type(directory, entries.Address + at + 19) is > 0 and var type)
                thread.Window.TryWriteBytes(address + (ulong)at + 18, [type]);
            at += size;
        }
    }

    private static byte Type(int directory, long leaf)
    {
        if (FileStat.OfPath(directory, leaf, At.SymlinkNoFollow, out var stat) < 0 || (stat.Mode & FileRecord.Mark) == 0) return 0;
        long fd = HostSyscall.Invoke(HostCall.OpenAt, directory, leaf, OpenFlags.Path | OpenFlags.NoFollow | OpenFlags.CloseOnExec);
        if (fd < 0) return 0;
        bool device = Ownership.IsDevice((int)fd, stat, out var record);
        HostSyscall.Invoke(HostCall.Close, fd);
        return device ? (byte)(record.Type >> 12) : (byte)0;
    }
}
