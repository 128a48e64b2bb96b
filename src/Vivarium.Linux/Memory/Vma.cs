using Vivarium.Host;

namespace Vivarium.Linux.Memory;

/// <summary>Properties of a mapping beside its protection.</summary>
[Flags]
public enum VmaFlags
{
    None = 0,

    /// <summary>MAP_SHARED: writes go to the object, fork shares it.</summary>
    Shared = 1,

    /// <summary>A private file mapping that is or once was writable: its bytes may differ from the file's.</summary>
    MayDiffer = 2,

    /// <summary>MADV_DONTFORK.</summary>
    DontFork = 4,

    /// <summary>MADV_WIPEONFORK.</summary>
    WipeOnFork = 8,

    /// <summary>MAP_NORESERVE.</summary>
    NoReserve = 16,

    /// <summary>mlock.</summary>
    Locked = 32,
}

/// <summary>One mapping: guest addresses [<paramref name="Start"/>, <paramref name="End"/>) with one protection and one backing.</summary>
/// <param name="Start">First address, page-aligned.</param>
/// <param name="End">First address after it, page-aligned.</param>
/// <param name="Protection">What the guest may do.</param>
/// <param name="Flags">Further properties.</param>
/// <param name="File">The backing, null for private anonymous memory.</param>
/// <param name="FileOffset">Offset in the file of <paramref name="Start"/>.</param>
/// <param name="Name">What /proc/self/maps shows for memory without a file: <c>[heap]</c>, <c>[stack]</c>.</param>
public sealed record Vma(
    ulong Start, ulong End, Protection Protection, VmaFlags Flags = VmaFlags.None, MappedFile? File = null, ulong FileOffset = 0, string? Name = null)
{
    public ulong Length => End - Start;

    public bool IsShared => (Flags & VmaFlags.Shared) != 0;

    public bool IsExecutable => (Protection & Protection.Execute) != 0;

    /// <summary>Private anonymous memory that a fork has put into a file of ours, which is mapped privately since (see <c>AddressSpace.Freeze</c>). The
    /// guest must not see the difference.</summary>
    public bool IsFrozen => File is { IsFrozen: true };

    /// <summary>Private memory without a file, as the guest sees it.</summary>
    public bool IsAnonymous => !IsShared && (File == null || File.IsFrozen);

    /// <summary>Not frozen, with nothing in it yet.</summary>
    public Vma Thawed() => IsFrozen ? this with { File = null, FileOffset = 0, Flags = Flags & ~VmaFlags.MayDiffer } : this;

    /// <summary>Whether the guest may think that <paramref name="next"/> and this are one mapping.</summary>
    public bool LooksLikeOneWith(Vma next) => Joins(next) || (IsAnonymous && next.IsAnonymous && Thawed().Joins(next.Thawed()));

    /// <summary>The part of this mapping within [start, end), which must overlap it.</summary>
    public Vma Clip(ulong start, ulong end)
    {
        ulong from = Math.Max(start, Start), to = Math.Min(end, End);
        return from == Start && to == End ? this : this with { Start = from, End = to, FileOffset = File == null ? 0 : FileOffset + (from - Start) };
    }

    /// <summary>Whether <paramref name="next"/> continues this mapping so that both are one.</summary>
    public bool Joins(Vma next) =>
        End == next.Start && Protection == next.Protection && Flags == next.Flags && ReferenceEquals(File, next.File) && Name == next.Name &&
        (File == null || FileOffset + Length == next.FileOffset);
}
