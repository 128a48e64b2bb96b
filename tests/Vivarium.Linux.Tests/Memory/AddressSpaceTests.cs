using FsCheck;
using FsCheck.Fluent;
using Vivarium.Host;
using Vivarium.Linux.Memory;
using Vivarium.RiscV.Interpreter;

namespace Vivarium.Linux.Tests.Memory;

/// <summary>mmap and its family on a real window, against a model with one entry per page: protection and first byte.</summary>
public class AddressSpaceTests
{
    private const int Pages = 32;
    private const ulong Page = 4096, Base = 0x10_0000;

    private readonly record struct Operation(int Kind, int Start, int Length, int Other, bool Write);

    private static readonly Gen<Operation> s_operation =
        from kind in Gen.Choose(0, 9)
        from start in Gen.Choose(0, Pages - 1)
        from length in Gen.Choose(1, 10)
        from other in Gen.Choose(0, Pages - 1)
        from write in Gen.Elements(true, false)
        select new Operation(kind, start, Math.Min(length, Pages - start), other, write);

    private sealed class PageModel
    {
        public bool Writable;
        public byte First;
    }

    [Fact]
    public void MemoryIsWhatTheModelSays() =>
        Prop.ForAll(Gen.ArrayOf(s_operation).ToArbitrary(), operations => Check(operations)).Check(Config.QuickThrowOnFailure.WithMaxTest(300).WithEndSize(120));

    [Fact]
    public void BlocksThatComeAndGoAreZeroAndLeaveNoMappingsBehind()
    {
        using var memory = Create();
        ulong low = memory.Window.HostBase, high = low + memory.Size;
        int CountMappings() => File.ReadLines("/proc/self/maps").Count(line => Convert.ToUInt64(line[..line.IndexOf('-')], 16) is var start && start >= low && start < high);
        var random = new Random(7);
        var blocks = new List<(ulong Start, ulong Length)>();
        for (int i = 0; i < 20000; i++)
        {
            if (blocks.Count > 0 && random.Next(3) == 0 || blocks.Count > 40)
            {
                int which = random.Next(blocks.Count);
                Assert.Equal(0, memory.Unmap(blocks[which].Start, blocks[which].Length));
                Assert.False(memory.Window.TryLoad8(blocks[which].Start, out _));
                blocks.RemoveAt(which);
                continue;
            }
            ulong length = (ulong)random.Next(1, 40) * Page;
            long start = memory.Map(0, length, Protection.Read | Protection.Write, MapFlags.Private | MapFlags.Anonymous);
            Assert.True(start > 0);
            for (ulong at = 0; at < length; at += Page)
            {
                Assert.True(memory.Window.TryLoad8((ulong)start + at, out byte value) && value == 0);
                if (random.Next(2) == 0) Assert.True(memory.Window.TryStore8((ulong)start + at, 1));
            }
            blocks.Add(((ulong)start, length));
        }
        foreach (var (start, length) in blocks) Assert.Equal(0, memory.Unmap(start, length));
        Assert.InRange(CountMappings(), 0, 40);
    }

    private static AddressSpace Create()
    {
        var window = MemoryWindow.Reserve(AddressSpace.WindowSize);
        return new AddressSpace(window, new ReferenceInterpreter());
    }

    private static bool Check(Operation[] operations)
    {
        var family = new List<(AddressSpace Memory, PageModel?[] Model)>();
        try
        {
            return Check(operations, family);
        }
        finally
        {
            foreach (var (memory, _) in family) memory.Dispose();
        }
    }

    /// <summary>Operations go to one of several processes that descend from each other; every page that has been written is frozen.</summary>
    private static bool Check(Operation[] operations, List<(AddressSpace Memory, PageModel?[] Model)> family)
    {
        var memory = Create();
        memory.FreezeAtOnce = Page;
        var model = new PageModel?[Pages];
        family.Add((memory, model));
        byte next = 1;
        foreach (var operation in operations)
        {
            ulong start = Base + (ulong)operation.Start * Page, length = (ulong)operation.Length * Page;
            var protection = operation.Write ? Protection.Read | Protection.Write : Protection.Read;
            bool covered = model[operation.Start..(operation.Start + operation.Length)].All(page => page != null);
            switch (operation.Kind)
            {
                case 0 or 1:
                    if (memory.Map(start, length, protection, MapFlags.Private | MapFlags.Anonymous | MapFlags.Fixed) != (long)start) return false;
                    for (int i = 0; i < operation.Length; i++) model[operation.Start + i] = new PageModel { Writable = operation.Write };
                    break;
                case 2:
                    if (memory.Unmap(start, length) != 0) return false;
                    for (int i = 0; i < operation.Length; i++) model[operation.Start + i] = null;
                    break;
                case 3:
                    if (memory.Protect(start, length, protection) != (covered ? 0 : -Errno.ENOMEM)) return false;
                    for (int i = 0; i < operation.Length && model[operation.Start + i] is { } page; i++) page.Writable = operation.Write;
                    break;
                case 4:
                    for (int i = 0; i < operation.Length; i++)
                    {
                        var page = model[operation.Start + i];
                        bool stored = memory.Window.TryStore8(start + (ulong)i * Page, next);
                        if (stored != (page is { Writable: true })) return false;
                        if (stored) page!.First = next++;
                    }
                    break;
                case 5:
                    if (memory.Advise(start, length, 4) != (covered ? 0 : -Errno.ENOMEM)) return false;
                    for (int i = 0; i < operation.Length; i++)
                    {
                        if (model[operation.Start + i] is { } page) page.First = 0;
                    }
                    break;
                case 6:
                    if (!MoveOne(memory, model, operation)) return false;
                    break;
                case 7:
                    if (!MoveMany(memory, model, operation)) return false;
                    break;
                case 8:
                    if (family.Count == 6) break;
                    var born = memory.Fork(MemoryWindow.Reserve(AddressSpace.WindowSize), new ReferenceInterpreter(), alone: operation.Other % 4 != 0);
                    family.Add((born, model.Select(page => page == null ? null : new PageModel { Writable = page.Writable, First = page.First }).ToArray()));
                    break;
                default:
                    if (family.Count > 1 && operation.Write && operation.Length == 1)
                    {
                        memory.Dispose();
                        family.Remove((memory, model));
                    }
                    (memory, model) = family[operation.Other % family.Count];
                    break;
            }
            if (!Agree(memory, model)) return false;
        }
        return family.All(member => Agree(member.Memory, member.Model));
    }

    /// <summary>mremap of one page onto another.</summary>
    private static bool MoveOne(AddressSpace memory, PageModel?[] model, Operation operation)
    {
        ulong from = Base + (ulong)operation.Start * Page, to = Base + (ulong)operation.Other * Page;
        long result = memory.Remap(from, Page, Page, 3, to);
        if (operation.Start == operation.Other) return result == -Errno.EINVAL;
        if (model[operation.Start] == null) return result == -Errno.EFAULT;
        model[operation.Other] = model[operation.Start];
        model[operation.Start] = null;
        return result == (long)to;
    }

    /// <summary>mremap of several pages beyond the others, where they may grow and shrink, and back.</summary>
    private static bool MoveMany(AddressSpace memory, PageModel?[] model, Operation operation)
    {
        ulong from = Base + (ulong)operation.Start * Page, length = (ulong)operation.Length * Page;
        var pages = model[operation.Start..(operation.Start + operation.Length)];
        const ulong Away = Base + 2 * Pages * Page;
        long result = memory.Remap(from, length, length + 3 * Page, 3, Away);
        if (pages.Any(page => page == null || page.Writable != pages[0]!.Writable)) return result == -Errno.EFAULT;
        if (result != (long)Away) return false;
        for (ulong at = length; at < length + 3 * Page; at += Page)
        {
            if (!memory.Window.TryLoad8(Away + at, out byte value) || value != 0) return false;
        }
        if (memory.Remap(Away, length + 3 * Page, length + 5 * Page, 0, 0) != (long)Away) return false;
        return memory.Remap(Away, length + 5 * Page, length, 3, from) == (long)from && memory.Unmap(Away, length + 5 * Page) == 0;
    }

    private static bool Agree(AddressSpace memory, PageModel?[] model)
    {
        for (int i = 0; i < Pages; i++)
        {
            ulong address = Base + (ulong)i * Page;
            bool readable = memory.Window.TryLoad8(address, out byte value);
            if (readable != (model[i] != null) || (readable && value != model[i]!.First)) return false;
            var vma = memory.Find(address);
            if (vma == null != (model[i] == null)) return false;
            if (vma != null && (vma.Protection & Protection.Write) != 0 != model[i]!.Writable) return false;
        }
        return true;
    }

    [Fact]
    public void ExecutableRangesAreKnownWithoutALock()
    {
        using var memory = Create();
        memory.Map(Base, 8 * Page, Protection.Read, MapFlags.Private | MapFlags.Anonymous | MapFlags.Fixed);
        Assert.False(memory.IsExecutable(Base));
        memory.Protect(Base + Page, 2 * Page, Protection.Read | Protection.Execute);
        Assert.False(memory.IsExecutable(Base + Page - 1));
        Assert.True(memory.IsExecutable(Base + Page));
        Assert.True(memory.IsExecutable(Base + 3 * Page - 1));
        Assert.False(memory.IsExecutable(Base + 3 * Page));
        memory.Unmap(Base + Page, Page);
        Assert.False(memory.IsExecutable(Base + Page));
        Assert.True(memory.IsExecutable(Base + 2 * Page));
    }

    [Fact]
    public void ForksShareWhatNobodyWrites()
    {
        const ulong Size = 64 << 20;
        using var memory = Create();
        memory.Map(Base, Size, Protection.Read | Protection.Write, MapFlags.Private | MapFlags.Anonymous | MapFlags.Fixed);
        for (ulong at = 0; at < Size; at += Page) memory.Window.TryStore64(Base + at, at + 1);
        long before = Resident();
        var children = new List<AddressSpace>();
        for (int i = 0; i < 10; i++) children.Add(memory.Fork(MemoryWindow.Reserve(AddressSpace.WindowSize), new ReferenceInterpreter(), alone: true));
        foreach (var child in children)
        {
            Assert.True(child.Window.TryLoad64(Base + Size / 2, out ulong value));
            Assert.Equal(Size / 2 + 1, value);
        }
        Assert.InRange(Resident() - before, long.MinValue, (long)Size / 4);
        using (var writer = new StringWriter())
        {
            memory.WriteMaps(writer);
            Assert.Single(writer.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries));
            Assert.DoesNotContain("deleted", writer.ToString(), StringComparison.Ordinal);
        }
        children.ForEach(child => child.Dispose());
    }

    private static long Resident() =>
        long.Parse(File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmRSS", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]) * 1024;

    [Fact]
    public void SharedAnonymousMemoryIsOneForParentAndChild()
    {
        using var memory = Create();
        memory.Map(Base, Page, Protection.Read | Protection.Write, MapFlags.Shared | MapFlags.Anonymous | MapFlags.Fixed);
        using var child = memory.Fork(MemoryWindow.Reserve(AddressSpace.WindowSize), new ReferenceInterpreter());
        Assert.True(child.Window.TryStore8(Base, 42));
        Assert.True(memory.Window.TryLoad8(Base, out byte value));
        Assert.Equal(42, value);
    }
}
