using System.Buffers.Binary;
using System.Security.Cryptography;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls
{
    /// <summary>Who sent a message through a UNIX datagram socket (SCM_CREDENTIALS). To the host all guests are one process, and such sockets need no connection by which
    /// to know the other side. So a message carries one descriptor more, of a file in memory with the sender's name in it, that the receiving side takes
    /// out again. Only once some guest has asked for credentials (SO_PASSCRED).</summary>
    /// <remarks>Thread-safe.</remarks>
    internal static class SenderTags
    {
        /// <summary>Bytes of a control message with one descriptor.</summary>
        public const int Room = 24;

        private const int MagicSize = 16, Size = MagicSize + 12, SolSocket = 1, SoType = 3, SoDomain = 39, Unix = 1, Datagram = 2, SequencedPacket = 5, MemfdCreate = 319, AllowSealing = 2, Seal = 1033, AllSeals = 15;

        private static readonly byte[] Magic = RandomNumberGenerator.GetBytes(MagicSize);
        private static volatile bool s_wanted;

        /// <summary>A guest wants to know who sends to it.</summary>
        public static void Want() => s_wanted = true;

        /// <summary>Whether messages of this socket are tagged.</summary>
        public static bool Takes(OpenFile file)
        {
            if (!s_wanted) return false;
            if (file.TakesTags == 0) file.TakesTags = (sbyte)(Option(file, SoDomain) == Unix && Option(file, SoType) is Datagram or SequencedPacket ? 1 : -1);
            return file.TakesTags > 0;
        }

        private static int Option(OpenFile file, int option)
        {
            using var value = HostScratch.Rent(8);
            BinaryPrimitives.WriteInt32LittleEndian(value.Span[4..], 4);
            return HostSyscall.Invoke(HostCall.GetSockOpt, file.HostDescriptor, SolSocket, option, value.Address, value.Address + 4) == 0 ? BinaryPrimitives.ReadInt32LittleEndian(value.Span) : -1;
        }

        /// <summary>A host descriptor that names a guest; negative errno where there is none. <paramref name="isOwn"/>: the caller closes it.</summary>
        public static int For(GuestProcess process, UnixPeers.Identity who, out bool isOwn)
        {
            isOwn = false;
            if (process.SenderTag is { } tag && tag.Who == who) return tag.Descriptor;
            int made = Make(who);
            if (made < 0) return made;
            isOwn = process.SenderTag != null || Interlocked.CompareExchange(ref process.SenderTag, new SenderTag(who, made), null) != null;
            return made;
        }

        private static int Make(UnixPeers.Identity who)
        {
            using var lease = HostScratch.Rent(64);
            "viv-sender\0"u8.CopyTo(lease.Span);
            int made = (int)HostSyscall.Invoke(MemfdCreate, lease.Address, 1 | AllowSealing);
            if (made < 0) return made;
            Magic.CopyTo(lease.Span);
            BinaryPrimitives.WriteInt32LittleEndian(lease.Span[MagicSize..], who.Pid);
            BinaryPrimitives.WriteUInt32LittleEndian(lease.Span[(MagicSize + 4)..], who.Uid);
            BinaryPrimitives.WriteUInt32LittleEndian(lease.Span[(MagicSize + 8)..], who.Gid);
            HostSyscall.Invoke(HostCall.PWrite64, made, lease.Address, Size, 0);
            HostSyscall.Invoke(HostCall.FCntl, made, Seal, AllSeals);
            return made;
        }

        /// <summary>Appends a control message with the tag; the new length of all of them.</summary>
        public static int Append(Span<byte> control, int length, int descriptor)
        {
            int at = length + 7 & ~7;
            control[length..at].Clear();
            var one = control[at..(at + Room)];
            one.Clear();
            BinaryPrimitives.WriteInt64LittleEndian(one, 20);
            BinaryPrimitives.WriteInt32LittleEndian(one[8..], SolSocket);
            BinaryPrimitives.WriteInt32LittleEndian(one[12..], 1);
            BinaryPrimitives.WriteInt32LittleEndian(one[16..], descriptor);
            return at + Room;
        }

        /// <summary>Takes a tag out of what was received, where there is one; the new length.</summary>
        public static int Strip(Span<byte> control, int length, ref UnixPeers.Identity? who)
        {
            for (int at = 0; at + 16 <= length;)
            {
                var one = control[at..length];
                int size = (int)Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(one), (ulong)one.Length);
                if (size < 16) break;
                int next = Math.Min(size + 7 & ~7, one.Length);
                if (BinaryPrimitives.ReadInt32LittleEndian(one[8..]) == SolSocket && BinaryPrimitives.ReadInt32LittleEndian(one[12..]) == 1 && size >= 20
                    && TryRead(BinaryPrimitives.ReadInt32LittleEndian(one[(size - 4)..]), ref who))
                {
                    HostSyscall.Invoke(HostCall.Close, BinaryPrimitives.ReadInt32LittleEndian(one[(size - 4)..]));
                    int left = size - 4 == 16 ? 0 : size - 4, leftSpace = left + 7 & ~7;
                    BinaryPrimitives.WriteInt64LittleEndian(one, left);
                    one[next..].CopyTo(one[leftSpace..]);
                    return length - (next - leftSpace);
                }
                at += next;
            }
            return length;
        }

        private static bool TryRead(int descriptor, ref UnixPeers.Identity? who)
        {
            using var lease = HostScratch.Rent(64);
            if (HostSyscall.Invoke(HostCall.PRead64, descriptor, lease.Address, 64, 0) != Size || !lease.Span[..MagicSize].SequenceEqual(Magic)) return false;
            who = new UnixPeers.Identity(BinaryPrimitives.ReadInt32LittleEndian(lease.Span[MagicSize..]), BinaryPrimitives.ReadUInt32LittleEndian(lease.Span[(MagicSize + 4)..]),
                BinaryPrimitives.ReadUInt32LittleEndian(lease.Span[(MagicSize + 8)..]));
            return true;
        }
    }

    /// <summary>A process's usual tag.</summary>
    internal sealed record SenderTag(UnixPeers.Identity Who, int Descriptor);
}

namespace Vivarium.Linux
{
    public sealed partial class GuestProcess
    {
        /// <summary>Names this process to who receives its datagrams.</summary>
        internal Syscalls.SenderTag? SenderTag;

        private void DropSenderTag()
        {
            if (Interlocked.Exchange(ref SenderTag, null) is { } tag) HostSyscall.Invoke(HostCall.Close, tag.Descriptor);
        }
    }
}
