using Vivarium.Host;

namespace Vivarium.Host.Tests;

public sealed unsafe class CodeMemoryTests
{
    [Fact]
    public void Committed_pages_execute_and_decommitted_ones_read_zero()
    {
        using var code = CodeMemory.Reserve(CodeMemory.MaxSize);
        const ulong offset = 100 << 20;
        code.Commit(offset, 5000);
        ((ReadOnlySpan<byte>)[0xB8, 7, 0, 0, 0, 0xC3]).CopyTo(new Span<byte>((void*)(code.Base + offset + 4090), 16)); // mov eax, 7; ret
        Assert.Equal(7, ((delegate* unmanaged<int>)(code.Base + offset + 4090))());
        code.Decommit(offset, 5000);
        Assert.Equal(0, *(byte*)(code.Base + offset + 4090));
        code.Commit(offset, 5000);
    }

    [Fact]
    public void Ranges_are_checked()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => CodeMemory.Reserve(2UL << 30));
        Assert.Throws<ArgumentOutOfRangeException>(() => CodeMemory.Reserve(0));
        var code = CodeMemory.Reserve(1 << 20);
        Assert.Throws<ArgumentOutOfRangeException>(() => code.Commit(1 << 20, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => code.Commit(4096, ulong.MaxValue));
        code.Dispose();
        Assert.Throws<ObjectDisposedException>(() => code.Commit(0, 1));
    }
}
