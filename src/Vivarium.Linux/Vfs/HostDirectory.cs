using System.Buffers.Binary;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>Reads directories of the host.</summary>
internal static class HostDirectory
{
    /// <summary>All entries but <c>.</c> and <c>..</c>; none where the directory cannot be read. The descriptor may be O_PATH; its offset stays.</summary>
    public static List<(byte[] Name, ulong Inode, byte Type)> Read(int directory)
    {
        var entries = new List<(byte[], ulong, byte)>();
        using var dot = HostName.Of("."u8);
        long fd = HostSyscall.Invoke(HostCall.OpenAt, directory, dot.Address, OpenFlags.Directory | OpenFlags.CloseOnExec);
        if (fd < 0) return entries;
        using var buffer = HostScratch.Rent(32768);
        for (;;)
        {
            long length = HostSyscall.Invoke(HostCall.GetDEnts64, fd, buffer.Address, buffer.Length);
            if (length <= 0) break;
            for (var rest = buffer.Span[..(int)length]; !rest.IsEmpty; rest = rest[BinaryPrimitives.ReadUInt16LittleEndian(rest[16..])..])
            {
                var name = rest[19..];
                name = name[..name.IndexOf((byte)0)];
                if (name.SequenceEqual("."u8) || name.SequenceEqual(".."u8)) continue;
                entries.Add((name.ToArray(), BinaryPrimitives.ReadUInt64LittleEndian(rest), rest[18]));
            }
        }
        HostSyscall.Invoke(HostCall.Close, fd);
        return entries;
    }
}
