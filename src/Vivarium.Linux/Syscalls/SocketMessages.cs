using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>sendmsg and recvmsg, single and many. struct msghdr and cmsghdr have the same layout on both sides; the pointers and descriptors in them have not.</summary>
internal static class SocketMessages
{
    private const int HeaderSize = 56, ManySize = 64, ControlMaximum = 65536;
    private const int CloseOnExecFlag = 0x40000000, ControlTruncated = 8, WaitForOne = 0x10000, DoNotWait = 0x40;
    private const int SolSocket = 1, Rights = 1, Credentials = 2;

    // Offsets in struct msghdr.
    private const int Name = 0, NameLength = 8, Vectors = 16, VectorCount = 24, Control = 32, ControlLength = 40, Flags = 48;

    public static long Send(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long status = Send(thread, file, args.A1, (int)args.A2);
        file.Release();
        return status;
    }

    public static long Receive(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long status = Receive(thread, file, args.A1, (int)args.A2);
        file.Release();
        return status;
    }

    public static long SendMany(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        uint count = Math.Min((uint)args.A2, HostVectors.Maximum);
        long status = 0;
        uint done = 0;
        for (; done < count; done++)
        {
            ulong message = args.A1 + done * ManySize;
            status = Send(thread, file, message, (int)args.A3);
            if (status < 0 || (status = thread.Put32(message + HeaderSize, (uint)status)) < 0) break;
        }
        file.Release();
        return done > 0 ? done : status;
    }

    public static long ReceiveMany(GuestThread thread, in SyscallArgs args)
    {
        long status = thread.GetTimeout(args.A4, out long timeout);
        if (status < 0) return status;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        uint count = Math.Min((uint)args.A2, HostVectors.Maximum);
        long deadline = timeout < 0 ? long.MaxValue : GuestThread.MonotonicNow() + timeout;
        int flags = (int)args.A3 & ~WaitForOne;
        uint done = 0;
        for (; done < count; done++)
        {
            ulong message = args.A1 + done * ManySize;
            status = Receive(thread, file, message, flags);
            if (status < 0 || (status = thread.Put32(message + HeaderSize, (uint)status)) < 0) break;
            if (((int)args.A3 & WaitForOne) != 0) flags |= DoNotWait;
            if (timeout >= 0 && GuestThread.MonotonicNow() >= deadline)
            {
                done++;
                break;
            }
        }
        file.Release();
        return done > 0 ? done : status;
    }

    private static ulong U64(ReadOnlySpan<byte> from, int at) => BinaryPrimitives.ReadUInt64LittleEndian(from[at..]);
    private static void Put64(Span<byte> to, int at, long value) => BinaryPrimitives.WriteInt64LittleEndian(to[at..], value);

    private static long Send(GuestThread thread, OpenFile file, ulong messageAddress, int flags)
    {
        using var header = HostScratch.Rent(HeaderSize);
        var message = header.Span;
        if (thread.Get(messageAddress, message) < 0) return -Errno.EFAULT;
        ulong name = U64(message, Name), control = U64(message, Control), controlLength = U64(message, ControlLength);
        if (U64(message, VectorCount) > HostVectors.Maximum) return -Errno.EMSGSIZE;
        if (controlLength > ControlMaximum) return -Errno.ENOBUFS;
        int nameLength = BinaryPrimitives.ReadInt32LittleEndian(message[NameLength..]);
        if (nameLength < 0) return -Errno.EINVAL;

        long status = HostVectors.Read(thread, U64(message, Vectors), U64(message, VectorCount), out var vectors);
        if (status < 0) return status;
        Put64(message, Vectors, vectors.Address);
        var address = default(SocketAddress);
        if (name != 0 && nameLength > 0)
        {
            address = SocketAddress.FromGuest(thread, name, (ulong)nameLength, toBind: false);
            status = address.Status;
            Put64(message, Name, address.Address);
            BinaryPrimitives.WriteInt32LittleEndian(message[NameLength..], address.Length);
        }
        else
        {
            Put64(message, Name, 0);
            BinaryPrimitives.WriteInt32LittleEndian(message[NameLength..], 0);
        }
        var controlBytes = HostScratch.Rent((int)controlLength + 16 + SenderTags.Room);
        List<OpenFile>? held = null;
        var sender = UnixPeers.Identity.Of(thread.Process);
        if (status >= 0 && control != 0 && controlLength > 0)
        {
            var bytes = controlBytes.Span[..(int)controlLength];
            status = thread.Get(control, bytes);
            if (status >= 0) status = ControlToHost(thread, bytes, ref held, ref sender);
            Put64(message, Control, controlBytes.Address);
        }
        else
        {
            Put64(message, Control, 0);
            Put64(message, ControlLength, 0);
        }
        if (status >= 0)
        {
            int tag = -1;
            bool ownTag = false;
            if (SenderTags.Takes(file) && (tag = SenderTags.For(thread.Process, sender, out ownTag)) >= 0)
            {
                Put64(message, Control, controlBytes.Address);
                Put64(message, ControlLength, SenderTags.Append(controlBytes.Span, (int)U64(message, ControlLength), tag));
            }
            status = thread.Block(HostCall.SendMsg, file.HostDescriptor, header.Address, flags);
            if (ownTag) HostSyscall.Invoke(HostCall.Close, tag);
        }
        controlBytes.Dispose();
        address.Dispose();
        vectors.Dispose();
        if (held != null) foreach (var one in held) one.Release();
        if (status == -Errno.EPIPE && (flags & SocketSyscalls.NoSignal) == 0) GuestAccess.BrokenPipe(thread);
        return status;
    }

    /// <summary>sendto on host memory, with a tag that says who sends.</summary>
    internal static long SendTagged(GuestThread thread, OpenFile file, long data, long length, int flags, long name, int nameLength)
    {
        int tag = SenderTags.For(thread.Process, UnixPeers.Identity.Of(thread.Process), out bool ownTag);
        using var lease = HostScratch.Rent(HeaderSize + 16 + SenderTags.Room);
        var message = lease.Span;
        message.Clear();
        const int vectorAt = HeaderSize, controlAt = HeaderSize + 16;
        Put64(message, Name, name);
        BinaryPrimitives.WriteInt32LittleEndian(message[NameLength..], nameLength);
        Put64(message, Vectors, lease.Address + vectorAt);
        Put64(message, VectorCount, 1);
        Put64(message, vectorAt, data);
        Put64(message, vectorAt + 8, length);
        if (tag >= 0)
        {
            Put64(message, Control, lease.Address + controlAt);
            Put64(message, ControlLength, SenderTags.Append(message[controlAt..], 0, tag));
        }
        long status = thread.Block(HostCall.SendMsg, file.HostDescriptor, lease.Address, flags);
        if (ownTag) HostSyscall.Invoke(HostCall.Close, tag);
        return status;
    }

    private static long ControlToHost(GuestThread thread, Span<byte> control, ref List<OpenFile>? held, ref UnixPeers.Identity sender)
    {
        for (int at = 0; at + 16 <= control.Length;)
        {
            var one = control[at..];
            ulong length = U64(one, 0);
            if (length < 16 || length > (ulong)one.Length) return -Errno.EINVAL;
            int level = BinaryPrimitives.ReadInt32LittleEndian(one[8..]), type = BinaryPrimitives.ReadInt32LittleEndian(one[12..]);
            if (level == SolSocket && type == Rights)
            {
                for (int slot = 16; slot + 4 <= (int)length; slot += 4)
                {
                    var sent = thread.Process.Files.Acquire(BinaryPrimitives.ReadInt32LittleEndian(one[slot..]));
                    if (sent == null) return -Errno.EBADF;
                    (held ??= []).Add(sent);
                    sent.WasSent = true;
                    BinaryPrimitives.WriteInt32LittleEndian(one[slot..], sent.HostDescriptor);
                }
            }
            else if (level == SolSocket && type == Credentials && length >= 28)
            {
                // The host lets us name only ourselves: what the guest says goes with the message's tag.
                var (process, who) = (thread.Process, thread.Process.Credentials);
                var said = new UnixPeers.Identity(BinaryPrimitives.ReadInt32LittleEndian(one[16..]), BinaryPrimitives.ReadUInt32LittleEndian(one[20..]), BinaryPrimitives.ReadUInt32LittleEndian(one[24..]));
                if (said.Pid != process.Pid && !who.Has(Linux.Credentials.CapSysAdmin)) return -Errno.EPERM;
                if (said.Uid != who.Uid && said.Uid != who.EffectiveUid && said.Uid != who.SavedUid && !who.Has(Linux.Credentials.CapSetUid)) return -Errno.EPERM;
                if (said.Gid != who.Gid && said.Gid != who.EffectiveGid && said.Gid != who.SavedGid && !who.Has(Linux.Credentials.CapSetGid)) return -Errno.EPERM;
                if (said.Pid != process.Pid && !process.Realm.Processes.ContainsKey(said.Pid)) return -Errno.ESRCH;
                sender = said;
                BinaryPrimitives.WriteInt32LittleEndian(one[16..], Environment.ProcessId);
                BinaryPrimitives.WriteInt32LittleEndian(one[20..], (int)HostSyscall.Invoke(102));
                BinaryPrimitives.WriteInt32LittleEndian(one[24..], (int)HostSyscall.Invoke(104));
            }
            at += ((int)length + 7) & ~7;
        }
        return 0;
    }

    private static long Receive(GuestThread thread, OpenFile file, ulong messageAddress, int flags)
    {
        using var header = HostScratch.Rent(HeaderSize);
        var message = header.Span;
        if (thread.Get(messageAddress, message) < 0) return -Errno.EFAULT;
        ulong name = U64(message, Name), control = U64(message, Control), controlLength = Math.Min(U64(message, ControlLength), ControlMaximum);
        if (U64(message, VectorCount) > HostVectors.Maximum) return -Errno.EMSGSIZE;
        int nameRoom = BinaryPrimitives.ReadInt32LittleEndian(message[NameLength..]);
        if (nameRoom < 0) return -Errno.EINVAL;

        long status = HostVectors.Read(thread, U64(message, Vectors), U64(message, VectorCount), out var vectors);
        if (status < 0) return status;
        using var from = HostScratch.Rent(SocketAddress.Room);
        SocketAddress.Clear(from.Span);
        // What may come with a tag, where the guest wants nothing of it: its credentials and the tag.
        bool tagged = SenderTags.Takes(file);
        int room = (int)controlLength + (tagged ? SenderTags.Room + 32 : 0);
        using var controlBytes = HostScratch.Rent(room + 16);
        Put64(message, Vectors, vectors.Address);
        Put64(message, Name, name == 0 ? 0 : from.Address);
        BinaryPrimitives.WriteInt32LittleEndian(message[NameLength..], name == 0 ? 0 : SocketAddress.Maximum);
        bool wantsControl = control != 0 && controlLength > 0;
        if (!wantsControl) room -= (int)controlLength;
        else if (tagged) room -= 32;
        Put64(message, Control, room > 0 ? controlBytes.Address : 0);
        Put64(message, ControlLength, room);

        status = thread.Block(HostCall.RecvMsg, file.HostDescriptor, header.Address, flags | CloseOnExecFlag);
        vectors.Dispose();
        if (status < 0) return status;

        uint outFlags = BinaryPrimitives.ReadUInt32LittleEndian(message[Flags..]) & ~(uint)CloseOnExecFlag | (uint)(flags & CloseOnExecFlag);
        int length = (int)U64(message, ControlLength);
        UnixPeers.Identity? sender = null;
        if (tagged && length > 0)
        {
            length = SenderTags.Strip(controlBytes.Span, length, ref sender);
            length = Fit(controlBytes.Span[..length], wantsControl ? (int)controlLength : 0, ref outFlags);
        }
        if (wantsControl && length > 0)
        {
            length = ControlToGuest(thread, file, controlBytes.Span[..length], sender, (flags & CloseOnExecFlag) != 0, ref outFlags);
            if (thread.Put(control, controlBytes.Span[..length]) < 0) return -Errno.EFAULT;
        }
        if (name != 0)
        {
            var guestName = SocketAddress.GuestName(thread, from.Span, BinaryPrimitives.ReadInt32LittleEndian(message[NameLength..]));
            if (thread.Put(name, guestName[..Math.Min(nameRoom, guestName.Length)]) < 0) return -Errno.EFAULT;
            if (thread.Put32(messageAddress + NameLength, (uint)guestName.Length) < 0) return -Errno.EFAULT;
        }
        if (!thread.Window.TryStore64(messageAddress + ControlLength, (ulong)length) || !thread.Window.TryStore32(messageAddress + Flags, outFlags)) return -Errno.EFAULT;
        return status;
    }

    /// <summary>Drops the control messages that the guest has no room for, and their descriptors; the length of the others.</summary>
    private static int Fit(Span<byte> control, int room, ref uint outFlags)
    {
        if (control.Length <= room) return control.Length;
        int kept = 0;
        for (int at = 0; at + 16 <= control.Length;)
        {
            var one = control[at..];
            int length = (int)Math.Min(U64(one, 0), (ulong)one.Length);
            if (length < 16) break;
            if (kept == at && at + length <= room) kept = Math.Min(at + (length + 7 & ~7), room);
            else
            {
                outFlags |= ControlTruncated;
                bool rights = BinaryPrimitives.ReadInt32LittleEndian(one[8..]) == SolSocket && BinaryPrimitives.ReadInt32LittleEndian(one[12..]) == Rights;
                for (int slot = 16; rights && slot + 4 <= length; slot += 4) HostSyscall.Invoke(HostCall.Close, BinaryPrimitives.ReadInt32LittleEndian(one[slot..]));
            }
            at += length + 7 & ~7;
        }
        return kept;
    }

    private static int ControlToGuest(GuestThread thread, OpenFile file, Span<byte> control, UnixPeers.Identity? from, bool closeOnExec, ref uint outFlags)
    {
        for (int at = 0; at + 16 <= control.Length;)
        {
            var one = control[at..];
            int length = (int)Math.Min(U64(one, 0), (ulong)one.Length);
            if (length < 16) break;
            int level = BinaryPrimitives.ReadInt32LittleEndian(one[8..]), type = BinaryPrimitives.ReadInt32LittleEndian(one[12..]);
            if (level == SolSocket && type == Rights)
            {
                int installed = 16;
                for (int slot = 16; slot + 4 <= length; slot += 4)
                {
                    // A descriptor that finds no number any more is closed, as the kernel does.
                    int received = BinaryPrimitives.ReadInt32LittleEndian(one[slot..]);
                    var space = thread.Process.Fs.Space;
                    long fd = thread.Install(received, closeOnExec, space, null, space.LayerOf(received));
                    if (fd < 0)
                    {
                        outFlags |= ControlTruncated;
                        continue;
                    }
                    BinaryPrimitives.WriteInt32LittleEndian(one[installed..], (int)fd);
                    installed += 4;
                }
                Put64(one, 0, installed);
            }
            else if (level == SolSocket && type == Credentials && length >= 28 && BinaryPrimitives.ReadInt32LittleEndian(one[16..]) == Environment.ProcessId)
            {
                // Which guest the sender is, the host does not know: who the message's tag says, whoever connected the socket, or as good as any guess, the receiver.
                var sender = from ?? UnixPeers.Find(file) ?? UnixPeers.Identity.Of(thread.Process);
                BinaryPrimitives.WriteInt32LittleEndian(one[16..], sender.Pid);
                BinaryPrimitives.WriteUInt32LittleEndian(one[20..], sender.Uid);
                BinaryPrimitives.WriteUInt32LittleEndian(one[24..], sender.Gid);
            }
            at += (length + 7) & ~7;
        }
        return control.Length;
    }
}
