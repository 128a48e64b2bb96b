using System.Runtime.CompilerServices;
using Vivarium.Host;

namespace Vivarium.Host.Tests;

public sealed unsafe class FaultHandlerTests
{
    private sealed class Node { public readonly int Value = 1; }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int ReadField(Node? node) => node!.Value;

    [Fact]
    public void Null_references_are_still_exceptions()
    {
        using var window = MemoryWindow.Reserve(1 << 20);
        for (var i = 0; i < 100; i++)
        {
            Assert.False(window.TryLoad64(0, out _));
            Assert.Throws<NullReferenceException>(() => ReadField(null));
            var zero = i - i;
            Assert.Throws<DivideByZeroException>(() => i / zero); // SIGFPE
        }
    }

    [Fact]
    public void Threads_fault_concurrently_with_null_references_and_collections()
    {
        using var window = MemoryWindow.Reserve(1 << 20);
        Assert.Equal(0, window.MapAnonymous(0, 4096, Protection.Read | Protection.Write));
        var stop = false;
        var wrong = 0;
        var threads = Enumerable.Range(0, 4).Select(id => new Thread(() =>
        {
            for (var i = 0; i < 1_500; i++)
            {
                if (window.TryLoad64(4096, out _)) Interlocked.Increment(ref wrong);
                if (!window.TryStore64((ulong)id * 8, (ulong)i)) Interlocked.Increment(ref wrong);
                if (window.Read(4090, new byte[16]) != 6) Interlocked.Increment(ref wrong);
                if (i % 50 != 0) continue;
                try
                {
                    ReadField(null);
                    Interlocked.Increment(ref wrong);
                }
                catch (NullReferenceException)
                {
                }
            }
        })).ToArray();
        var collector = new Thread(() =>
        {
            while (!Volatile.Read(ref stop))
            {
                GC.Collect(0);
                Thread.Sleep(1); // one collection after the other would leave the threads no time between two suspensions
            }
        });
        collector.Start();
        foreach (var thread in threads) thread.Start();
        foreach (var thread in threads) thread.Join();
        Volatile.Write(ref stop, true);
        collector.Join();
        Assert.Equal(0, wrong);
    }

    [Fact]
    public void A_fault_in_a_code_region_goes_to_its_fault_stub_with_the_right_values()
    {
        using var code = CodeMemory.Reserve(1 << 20);
        code.Commit(0, 8192);
        using var window = MemoryWindow.Reserve(1 << 20);
        // long entry(context+bias rdi, address rsi): push rbp; mov rbp, rdi; mov eax, 0x55; mov [rsi], eax; xor eax, eax; pop rbp; ret
        ReadOnlySpan<byte> body = [0x55, 0x48, 0x89, 0xFD, 0xB8, 0x55, 0, 0, 0, 0x89, 0x06, 0x31, 0xC0, 0x5D, 0xC3];
        body.CopyTo(new Span<byte>((void*)code.Base, 64));
        // fault stub, outside the region: rax must still be 0x55 (all registers but rip as at the fault): add eax, 1; pop rbp; ret
        ReadOnlySpan<byte> stub = [0x83, 0xC0, 0x01, 0x5D, 0xC3];
        stub.CopyTo(new Span<byte>((byte*)code.Base + 4096, 64));
        const int bias = 0x80;
        var region = new CodeRegion(code.Base, code.Base + 4096, bias, 8, 16, 24, code.Base + 4096, 32, 0);
        FaultHandler.Register(region);
        try
        {
            var context = stackalloc ulong[8];
            var entry = (delegate* unmanaged<byte*, ulong, long>)code.Base;
            for (var i = 1; i < 100; i++)
            {
                new Span<ulong>(context, 8).Clear();
                var address = window.HostBase + (ulong)i * 24;
                Assert.Equal(0x56, entry((byte*)context + bias, address));
                Assert.Equal([0UL, code.Base + 9, address, 11UL, 0UL], new Span<ulong>(context, 5).ToArray());
            }
            // A non-canonical address is a general protection fault: the kernel reports address 0.
            Assert.Equal(0x56, entry((byte*)context + bias, 0x8000_0000_0000_0000));
            Assert.Equal(0UL, context[2]);
            // No fault, no redirection.
            ulong target = 0;
            Assert.Equal(0, entry((byte*)context + bias, (ulong)&target));
            Assert.Equal(0x55UL, target);
        }
        finally
        {
            FaultHandler.Unregister(code.Base);
        }
    }

    [Fact]
    public void Sixty_four_regions_fit()
    {
        var regions = Enumerable.Range(0, 64).Select(i => new CodeRegion(0x1000UL * (ulong)(i + 1), 0x1000UL * (ulong)(i + 1) + 16, 0, 0, 0, 0, 0, 0, 0)).ToArray();
        var done = 0;
        try
        {
            // Other tests of this class run one after another, so at most this many are taken by others.
            foreach (var region in regions)
            {
                FaultHandler.Register(region);
                done++;
            }
            Assert.Throws<InvalidOperationException>(() => FaultHandler.Register(new CodeRegion(1, 2, 0, 0, 0, 0, 0, 0, 0)));
        }
        finally
        {
            for (var i = 0; i < done; i++) FaultHandler.Unregister(regions[i].Start);
        }
    }
}
