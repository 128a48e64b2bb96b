using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>Extended attributes of guests' files. Those that viv keeps for itself are hidden; those that only the host's root may set
/// (<c>security.*</c>, <c>trusted.*</c>) are kept under names of our own where viv is not root.</summary>
internal static class ExtendedAttributes
{
    private const int Maximum = 65536;

    private static ReadOnlySpan<byte> Own => "user.viv."u8;
    private static ReadOnlySpan<byte> Overlay => "user.overlay."u8;
    private static ReadOnlySpan<byte> Stand => "user.viv.x."u8;

    /// <summary>A guest must not see or touch it.</summary>
    public static bool IsHidden(ReadOnlySpan<byte> name) => name.StartsWith(Own) || name.StartsWith(Overlay);

    /// <summary>Only root of the host may set it.</summary>
    public static bool IsPrivileged(ReadOnlySpan<byte> name) => name.StartsWith("security."u8) || name.StartsWith("trusted."u8);

    /// <summary>Writes the name that stands for a privileged one, with its NUL; its length, or -1 where there is no room.</summary>
    public static int WriteStandIn(ReadOnlySpan<byte> name, Span<byte> to)
    {
        if (Stand.Length + name.Length + 1 > to.Length) return -1;
        Stand.CopyTo(to);
        name.CopyTo(to[Stand.Length..]);
        to[Stand.Length + name.Length] = 0;
        return Stand.Length + name.Length;
    }

    /// <summary>Takes hidden names out of a list of NUL-terminated ones and gives stand-ins their own name; the new length.</summary>
    public static int Filter(Span<byte> list)
    {
        int kept = 0;
        for (int at = 0; at < list.Length;)
        {
            int length = list[at..].IndexOf((byte)0) + 1;
            if (length <= 0) break;
            var name = list.Slice(at, length);
            at += length;
            if (name.StartsWith(Stand)) name = name[Stand.Length..];
            else if (IsHidden(name)) continue;
            name.CopyTo(list[kept..]);
            kept += name.Length;
        }
        return kept;
    }

    /// <summary>Copies all attributes that can be copied from one file to another, our own included.</summary>
    public static void Copy(int source, int target)
    {
        using var from = HostName.OfDescriptor(source);
        using var to = HostName.OfDescriptor(target);
        using var names = HostScratch.Rent(Maximum);
        long length = HostSyscall.Invoke(HostCall.ListXAttr, from.Address, names.Address, Maximum);
        if (length <= 0) return;
        using var value = HostScratch.Rent(Maximum);
        for (int at = 0; at < length;)
        {
            int end = names.Span[at..].IndexOf((byte)0) + 1;
            if (end <= 0) return;
            // The layer's own marks are of that layer.
            if (!names.Span[at..].StartsWith(Overlay))
            {
                long size = HostSyscall.Invoke(HostCall.GetXAttr, from.Address, names.Address + at, value.Address, Maximum);
                if (size >= 0) HostSyscall.Invoke(HostCall.SetXAttr, to.Address, names.Address + at, value.Address, size, 0);
            }
            at += end;
        }
    }
}
