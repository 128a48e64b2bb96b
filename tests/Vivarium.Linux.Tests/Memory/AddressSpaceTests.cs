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
        from kind in Gen.Choose(0, 6)
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
        Prop.ForAll(Gen.ArrayOf(s_operation).ToArbitrary(), operations => Check(operations)).QuickCheckThrowOnFailure();

    private static AddressSpace Create()
    {
        var window = MemoryWindow.Reserve(AddressSpace.WindowSize);
        return new AddressSpace(window, new ReferenceInterpreter());
    }

    private static bool Check(Operation[] operations)
    {
        using var memory = Create();
        var model = new PageModel?[Pages];
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
                default:
                    if (!MoveOne(memory, model, operation)) return false;
                    break;
            }
            if (!Agree(memory, model)) return false;
        }
        using var child = memory.Fork(MemoryWindow.Reserve(AddressSpace.WindowSize), new ReferenceInterpreter());
        return Agree(child, model);
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
