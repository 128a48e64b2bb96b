using FsCheck;
using FsCheck.Fluent;
using Vivarium.Host;
using Vivarium.Linux.Memory;

namespace Vivarium.Linux.Tests.Memory;

/// <summary>The table of mappings against the simplest model: one entry per page.</summary>
public class VmaTableTests
{
    private const int Pages = 64;
    private const ulong Page = 4096;

    private readonly record struct Operation(int Kind, int Start, int Length, int Protection, bool Named);

    private static readonly Gen<Operation> s_operation =
        from kind in Gen.Choose(0, 2)
        from start in Gen.Choose(0, Pages - 1)
        from length in Gen.Choose(1, 20)
        from protection in Gen.Choose(0, 7)
        from named in Gen.Elements(true, false)
        select new Operation(kind, start, Math.Min(length, Pages - start), protection, named);

    [Fact]
    public void BehavesLikeAnArrayOfPages() =>
        Prop.ForAll(Gen.ArrayOf(s_operation).ToArbitrary(), operations => Check(operations)).QuickCheckThrowOnFailure();

    private static bool Check(Operation[] operations)
    {
        var table = new VmaTable();
        var model = new (Protection Protection, string? Name)?[Pages];
        foreach (var operation in operations)
        {
            ulong start = (ulong)operation.Start * Page, end = start + (ulong)operation.Length * Page;
            var protection = (Protection)operation.Protection;
            string? name = operation.Named ? "name" : null;
            switch (operation.Kind)
            {
                case 0:
                    table.Set(new Vma(start, end, protection, Name: name));
                    Array.Fill(model, (protection, name), operation.Start, operation.Length);
                    break;
                case 1:
                    table.Remove(start, end);
                    Array.Fill(model, null, operation.Start, operation.Length);
                    break;
                default:
                    table.Update(start, end, vma => vma with { Protection = protection });
                    for (int i = operation.Start; i < operation.Start + operation.Length; i++)
                    {
                        if (model[i] is { } page) model[i] = (protection, page.Name);
                    }
                    break;
            }
            if (!Agree(table, model)) return false;
        }
        return true;
    }

    private static bool Agree(VmaTable table, (Protection Protection, string? Name)?[] model)
    {
        for (int i = 0; i < Pages; i++)
        {
            var vma = table.Find((ulong)i * Page + 17);
            if (vma == null != (model[i] == null)) return false;
            if (vma != null && (vma.Protection, vma.Name) != model[i]) return false;
        }
        for (int i = 1; i < table.Count; i++)
        {
            // Sorted, disjoint, and merged where alike.
            if (table[i - 1].End > table[i].Start || table[i - 1].Joins(table[i])) return false;
        }
        for (int length = 1; length < 12; length += 3)
        {
            if (table.FindGapBelow((ulong)length * Page, 2 * Page, 60 * Page) != Highest(model, length, 2, 60)) return false;
            if (table.FindGapAbove((ulong)length * Page, 2 * Page, 60 * Page) != Lowest(model, length, 2, 60)) return false;
        }
        int covered = 5;
        while (covered < 40 && model[covered] != null) covered++;
        return table.CoveredUpTo(5 * Page, 40 * Page) == (ulong)covered * Page &&
            table.IsFree(5 * Page, 9 * Page) == model[5..9].All(page => page == null);
    }

    private static ulong Highest((Protection, string?)?[] model, int length, int low, int high)
    {
        for (int start = high - length; start >= low; start--)
        {
            if (model[start..(start + length)].All(page => page == null)) return (ulong)start * Page;
        }
        return ulong.MaxValue;
    }

    private static ulong Lowest((Protection, string?)?[] model, int length, int low, int high)
    {
        for (int start = low; start <= high - length; start++)
        {
            if (model[start..(start + length)].All(page => page == null)) return (ulong)start * Page;
        }
        return ulong.MaxValue;
    }

    [Fact]
    public void FileReferencesAreCountedThroughSplitsAndMerges()
    {
        using var handle = File.OpenHandle(TestFiles.Path("README.md"));
        var file = MappedFile.Open((int)handle.DangerousGetHandle(), "README.md", 0, out int error)!;
        Assert.Equal(0, error);
        var table = new VmaTable();
        table.Set(new Vma(0, 16 * Page, Protection.Read, File: file, FileOffset: 0));
        table.Remove(4 * Page, 6 * Page);
        table.Update(8 * Page, 9 * Page, vma => vma with { Protection = Protection.None });
        Assert.Equal(4, table.Count);
        Assert.Equal(9 * Page, table.Find(9 * Page)!.FileOffset);
        table.Update(8 * Page, 9 * Page, vma => vma with { Protection = Protection.Read });
        Assert.Equal(2, table.Count);
        table.Clear();
        // Only our own reference is left: the descriptor is still open, and closed with the last release.
        Assert.Equal(0, MappedFile.Stat(file.HostDescriptor, out _, out bool regular));
        Assert.True(regular);
        int descriptor = file.HostDescriptor;
        file.Release();
        Assert.Equal(-Errno.EBADF, MappedFile.Stat(descriptor, out _, out _));
    }

    [Fact]
    public void LibrariesKeepTheirPlaces()
    {
        var one = new Vivarium.RiscV.Execution.CodeIdentity(1, 2, 3, 4);
        var two = new Vivarium.RiscV.Execution.CodeIdentity(1, 3, 3, 4);
        var first = new LibraryPlacement();
        ulong place = first.Find(one, 1 << 20);
        Assert.NotEqual(0UL, place);
        Assert.Equal(place, first.Find(one, 1 << 20));
        Assert.NotEqual(place, first.Find(two, 1 << 20));
        Assert.Equal(place, new LibraryPlacement().Find(one, 1 << 20));
    }
}
