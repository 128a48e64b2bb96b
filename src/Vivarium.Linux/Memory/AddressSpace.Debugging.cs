using Vivarium.Host;

namespace Vivarium.Linux.Memory;

// What debuggers read and write: also what the guest itself may not.
public sealed partial class AddressSpace
{
    /// <summary>Reads for a tracer: the bytes read.</summary>
    internal int Peek(ulong address, Span<byte> bytes)
    {
        int done = (int)Window.Read(address, bytes);
        if (done == bytes.Length) return done;
        lock (_lock)
        {
            // PROT_NONE is opened for the moment.
            ulong at = address + (ulong)done;
            if (_table.Find(at) is not { } vma || vma.Protection != Protection.None) return done;
            ulong page = at & ~(PageSize - 1);
            if (Window.Protect(page, PageSize, Protection.Read) != 0) return done;
            int room = (int)Math.Min((ulong)(bytes.Length - done), page + PageSize - at);
            done += (int)Window.Read(at, bytes.Slice(done, room));
            Window.Protect(page, PageSize, Protection.None);
            return done;
        }
    }

    /// <summary>Writes for a tracer: the bytes written. <paramref name="force"/> writes private memory that the guest may not write, as breakpoints
    /// are set. Code that was translated is made again.</summary>
    internal int Poke(ulong address, ReadOnlySpan<byte> bytes, bool force = true)
    {
        int done = 0;
        lock (_lock)
        {
            while (done < bytes.Length)
            {
                ulong at = address + (ulong)done, page = at & ~(PageSize - 1);
                if (_table.Find(at) is not { } vma) break;
                int room = (int)Math.Min((ulong)(bytes.Length - done), page + PageSize - at);
                bool writable = (vma.Protection & Protection.Write) != 0;
                if (!writable)
                {
                    if (!force || vma.IsShared || Window.Protect(page, PageSize, Protection.Read | Protection.Write) != 0) break;
                    // Its bytes are no longer the file's.
                    if (vma.File != null) _table.Update(page, page + PageSize, part => part with { Flags = part.Flags | VmaFlags.MayDiffer });
                }
                int written = (int)Window.Write(at, bytes.Slice(done, room));
                if (!writable) Window.Protect(page, PageSize, HostProtection(vma.Protection));
                done += written;
                if (vma.IsExecutable)
                {
                    if (!writable) CodeChanged(page, page + PageSize, before: true);
                    else Executor.SynchronizeCode(at, (ulong)room);
                }
                if (written < room) break;
            }
        }
        return done;
    }
}
