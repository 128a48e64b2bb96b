using System.Security.Cryptography;
using Vivarium.Host;

namespace Vivarium.Host.Tests;

public sealed class MemoryWindowTests : IDisposable
{
    private const ulong Page = 4096;
    private readonly MemoryWindow _window = MemoryWindow.Reserve(1UL << 30);

    public void Dispose() => _window.Dispose();

    private void Map(ulong offset, ulong length, Protection protection = Protection.Read | Protection.Write) =>
        Assert.Equal(0, _window.MapAnonymous(offset, length, protection));

    [Fact]
    public void Sizes_are_those_of_process_mode()
    {
        using var big = MemoryWindow.Reserve(256UL << 30);
        Assert.Equal(256UL << 30, big.Size);
        Assert.Equal(0UL, big.HostBase % (2 << 20));
        Assert.Equal(0, big.MapAnonymous(big.Size - Page, Page, Protection.Read | Protection.Write));
        Assert.True(big.TryStore64(big.Size - 8, 1));
        Assert.False(big.TryStore64(big.Size - 7, 1));
    }

    [Fact]
    public void Every_width_loads_what_was_stored_and_nothing_beside_it()
    {
        Map(0, Page);
        Assert.True(_window.TryStore64(8, ulong.MaxValue));
        Assert.True(_window.TryStore8(8, 0x12));
        Assert.True(_window.TryStore16(10, 0x3456));
        Assert.True(_window.TryStore32(12, 0x789ABCDE));
        Assert.True(_window.TryLoad64(8, out var all));
        Assert.Equal(0x789ABCDE_3456_FF12UL, all);
        Assert.True(_window.TryLoad8(9, out var b));
        Assert.True(_window.TryLoad16(10, out var h));
        Assert.True(_window.TryLoad32(12, out var w));
        Assert.Equal((0xFF, 0x3456, 0x789ABCDEu), (b, h, w));
        Assert.True(_window.TryLoad64(0, out all));
        Assert.Equal(0UL, all);
        Assert.True(_window.TryLoad64(16, out all));
        Assert.Equal(0UL, all);
    }

    [Fact]
    public void Unmapped_and_protected_pages_are_a_status_not_a_crash()
    {
        Map(Page, Page, Protection.Read);
        Assert.False(_window.TryLoad8(0, out var b));
        Assert.Equal(0, b);
        Assert.False(_window.TryLoad16(0, out _));
        Assert.False(_window.TryLoad32(0, out _));
        Assert.False(_window.TryLoad64(0, out _));
        Assert.Equal(11, _window.Load64(0, out _));
        Assert.True(_window.TryLoad64(Page, out _));
        Assert.False(_window.TryStore8(Page, 1));
        Assert.False(_window.TryStore16(Page, 1));
        Assert.False(_window.TryStore32(Page, 1));
        Assert.False(_window.TryStore64(Page, 1));
        Assert.False(_window.TryCompareExchange32(Page, 1, 1, out _));
        Assert.False(_window.TryCompareExchange64(Page, 1, 1, out _));
        Assert.False(_window.TryCompareExchange128(Page, 1, 1, out _));
        Assert.Equal(0, _window.Protect(Page, Page, Protection.None));
        Assert.False(_window.TryLoad64(Page, out _));
        Assert.Equal(0, _window.Protect(Page, Page, Protection.Read | Protection.Write));
        Assert.True(_window.TryStore64(Page, 5));
        Assert.Equal(0, _window.Unmap(Page, Page));
        Assert.False(_window.TryLoad64(Page, out _));
    }

    [Fact]
    public void Execute_means_readable_data()
    {
        Map(0, Page, Protection.Execute);
        Assert.True(_window.TryLoad32(0, out _));
        Assert.DoesNotContain("x", MapsLine(_window.HostBase).Split(' ')[1]);
    }

    private static string MapsLine(ulong address) =>
        File.ReadLines("/proc/self/maps").First(line => line.StartsWith(address.ToString("x"), StringComparison.Ordinal));

    [Theory]
    [InlineData(1UL << 30)]
    [InlineData((1UL << 30) + 1)]
    [InlineData(ulong.MaxValue)]
    [InlineData(ulong.MaxValue - 7)]
    [InlineData(1UL << 63)]
    [InlineData(0x0000_8000_0000_0000UL)]
    public void Offsets_outside_the_window_fault(ulong offset)
    {
        Assert.Equal(11, _window.Load8(offset, out _));
        Assert.Equal(11, _window.Load16(offset, out _));
        Assert.Equal(11, _window.Load32(offset, out _));
        Assert.Equal(11, _window.Load64(offset, out _));
        Assert.Equal(11, _window.Store8(offset, 1));
        Assert.Equal(11, _window.Store64(offset, 1));
        Assert.Equal(11, _window.CompareExchange32(offset, 1, 1, out _));
        Assert.Equal(11, _window.CompareExchange64(offset, 1, 1, out _));
        Assert.Equal(11, _window.CompareExchange128(offset, 1, 1, out _));
        Assert.Equal(0, _window.Read(offset, new byte[16], out var signal));
        Assert.Equal(11, signal);
        Assert.Equal(0, _window.Write(offset, new byte[16]));
        Assert.Equal(0UL, _window.Clear(offset, 16));
        Assert.Equal(-14, _window.ReadCString(offset, new byte[16]));
        Assert.False(_window.TryGetHostAddress(offset, 1, out _));
    }

    [Fact]
    public void Mapping_operations_stay_inside_the_window()
    {
        var size = _window.Size;
        Assert.Equal(-22, _window.MapAnonymous(1, Page, Protection.Read));
        Assert.Equal(-22, _window.MapAnonymous(0, 0, Protection.Read));
        Assert.Equal(-12, _window.MapAnonymous(size, Page, Protection.Read));
        Assert.Equal(-12, _window.MapAnonymous(0, size + Page, Protection.Read));
        Assert.Equal(-12, _window.MapAnonymous(ulong.MaxValue - Page + 1, Page, Protection.Read));
        Assert.Equal(-12, _window.Unmap(size - Page, 2 * Page));
        Assert.Equal(-12, _window.Protect(size, Page, Protection.Read));
        Assert.Equal(-12, _window.Advise(size, Page, 4));
        Assert.Equal(-12, _window.Move(0, Page, size, Page));
        Assert.Equal(-22, _window.Move(0, 2 * Page, Page, 2 * Page));
    }

    [Fact]
    public void Compare_and_exchange()
    {
        Map(0, Page);
        _window.TryStore32(4, 7);
        Assert.True(_window.TryCompareExchange32(4, 7, 8, out var w));
        Assert.Equal(7u, w);
        Assert.True(_window.TryCompareExchange32(4, 7, 9, out w));
        Assert.Equal(8u, w);
        _window.TryStore64(8, ulong.MaxValue);
        Assert.True(_window.TryCompareExchange64(8, ulong.MaxValue, 1, out var d));
        Assert.Equal(ulong.MaxValue, d);
        Assert.True(_window.TryCompareExchange64(8, 5, 1, out d));
        Assert.Equal(1UL, d);
        var first = new UInt128(0x1122334455667788, 0x99AABBCCDDEEFF00);
        var second = new UInt128(3, 4);
        Assert.True(_window.TryCompareExchange128(16, 0, first, out var q));
        Assert.Equal(UInt128.Zero, q);
        Assert.True(_window.TryCompareExchange128(16, second, second, out q));
        Assert.Equal(first, q);
        Assert.True(_window.TryCompareExchange128(16, first, second, out q));
        Assert.Equal(first, q);
        Assert.True(_window.TryLoad64(16, out var low));
        Assert.True(_window.TryLoad64(24, out var high));
        Assert.Equal((4UL, 3UL), (low, high));
        Assert.False(_window.TryCompareExchange128(24, 0, 0, out _)); // misaligned: general protection
    }

    [Fact]
    public void Compare_and_exchange_is_atomic_across_threads()
    {
        Map(0, Page);
        var threads = new Thread[4];
        for (var t = 0; t < threads.Length; t++)
        {
            threads[t] = new Thread(() =>
            {
                for (var i = 0; i < 20_000; i++)
                {
                    _window.TryLoad64(64, out var seen);
                    while (_window.TryCompareExchange64(64, seen, seen + 1, out var old) && old != seen) seen = old;
                }
            });
            threads[t].Start();
        }
        foreach (var thread in threads) thread.Join();
        _window.TryLoad64(64, out var total);
        Assert.Equal(80_000UL, total);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(4096)]
    [InlineData(10_000)]
    [InlineData(100_000)]
    public void A_copy_into_a_hole_stops_at_the_exact_byte(int length)
    {
        Map(0, 32 * Page);
        Assert.Equal(0, _window.Unmap(16 * Page, Page));
        var bytes = RandomNumberGenerator.GetBytes(length);
        for (var before = 0; before < Math.Min(length, 70); before += 3)
        {
            var offset = 16 * Page - (ulong)before;
            Assert.Equal(before, _window.Write(offset, bytes, out var signal));
            Assert.Equal(11, signal);
            var back = new byte[length];
            Assert.Equal(before, _window.Read(offset, back));
            Assert.Equal(bytes.AsSpan(0, before), back.AsSpan(0, before));
            Assert.Equal((ulong)before, _window.Clear(offset, (ulong)length));
        }
    }

    [Fact]
    public void Short_copies_are_exact_at_every_length_and_distance_to_a_hole()
    {
        Map(0, Page);
        Map(2 * Page, Page);
        var bytes = RandomNumberGenerator.GetBytes(80);
        for (var length = 0; length <= 80; length++)
        {
            var source = bytes.AsSpan(0, length);
            for (var room = 0; room <= length + 1; room++)
            {
                _window.Clear(Page - 128, 128);
                var expected = Math.Min(room, length);
                var offset = Page - (ulong)room;
                Assert.Equal(expected, _window.Write(offset, source));
                var back = new byte[length];
                Assert.Equal(expected, _window.Read(offset, back));
                Assert.Equal(source[..expected], back.AsSpan(0, expected));
                Assert.False(back.AsSpan(expected).ContainsAnyExcept((byte)0));
                if (room <= length) continue;
                Assert.True(_window.TryLoad8(Page - 1, out var beyond)); // one byte of room was left over
                Assert.Equal(0, beyond);
            }
            // Starting in the hole: nothing at all, on the far side neither.
            if (length == 0) continue;
            _window.Clear(2 * Page, 128);
            Assert.Equal(0, _window.Write(2 * Page - 1, source));
            var far = new byte[80];
            _window.Read(2 * Page, far);
            Assert.False(far.AsSpan().ContainsAnyExcept((byte)0));
        }
    }

    [Fact]
    public void Windows_copy_to_each_other()
    {
        using var other = MemoryWindow.Reserve(1 << 20);
        Map(0, 8 * Page);
        Assert.Equal(0, other.MapAnonymous(Page, 4 * Page, Protection.Read | Protection.Write));
        var bytes = RandomNumberGenerator.GetBytes(20_000);
        _window.Write(5, bytes);
        Assert.Equal(4 * Page - 3, _window.CopyTo(5, other, Page + 3, 20_000));
        var back = new byte[4 * Page - 3];
        Assert.Equal(back.Length, other.Read(Page + 3, back));
        Assert.Equal(bytes.AsSpan(0, back.Length), back.AsSpan());
        Assert.Equal(0UL, _window.CopyTo(0, other, ulong.MaxValue, 10));
        Assert.Equal(0UL, _window.CopyTo(1UL << 40, other, Page, 10));
    }

    [Fact]
    public void Copies_round_trip()
    {
        Map(0, 64 * Page);
        var bytes = RandomNumberGenerator.GetBytes(200_000);
        Assert.Equal(bytes.Length, _window.Write(123, bytes));
        var back = new byte[bytes.Length];
        Assert.Equal(back.Length, _window.Read(123, back));
        Assert.Equal(bytes, back);
        Assert.Equal(100_000UL, _window.Clear(123, 100_000));
        Assert.Equal(back.Length, _window.Read(123, back));
        Assert.False(back.AsSpan(0, 100_000).ContainsAnyExcept((byte)0));
        Assert.Equal(bytes.AsSpan(100_000), back.AsSpan(100_000));
    }

    [Fact]
    public void C_strings_end_at_the_page_they_end_on()
    {
        Map(0, Page);
        _window.Write(Page - 6, "hello\0"u8);
        var buffer = new byte[4096];
        Assert.Equal(5, _window.ReadCString(Page - 6, buffer));
        Assert.Equal("hello"u8, buffer.AsSpan(0, 5));
        Assert.Equal(-36, _window.ReadCString(Page - 6, buffer.AsSpan(0, 5)));
        _window.TryStore8(Page - 1, (byte)'!');
        Assert.Equal(-14, _window.ReadCString(Page - 6, buffer));
        Map(Page, Page);
        Assert.Equal(6, _window.ReadCString(Page - 6, buffer));
        _window.Write(0, Enumerable.Repeat((byte)'x', 3000).ToArray());
        Assert.Equal(3000, _window.ReadCString(0, buffer));
    }

    [Fact]
    public void Beyond_a_files_end_is_sigbus()
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, new byte[100]);
            using var file = File.Open(path, FileMode.Open, FileAccess.ReadWrite);
            Assert.Equal(0, _window.MapFile(0, 2 * Page, Protection.Read | Protection.Write, (int)file.SafeFileHandle.DangerousGetHandle(), 0, shared: true));
            Assert.Equal(0, _window.Load64(0, out _));
            Assert.Equal(7, _window.Load64(Page, out _));
            Assert.Equal(7, _window.Store32(Page, 1));
            Assert.Equal((int)Page - 8, _window.Read(8, new byte[5000], out var signal));
            Assert.Equal(7, signal);
            _window.TryStore8(50, 0x5A);
            Assert.Equal(0, _window.Sync(0, Page, 4));
        }
        finally
        {
            Assert.Equal(0x5A, File.ReadAllBytes(path)[50]);
            File.Delete(path);
        }
    }

    [Fact]
    public void Dont_need_drops_anonymous_contents()
    {
        Map(0, Page);
        _window.TryStore64(0, 77);
        Assert.Equal(0, _window.Advise(0, Page, 4));
        Assert.True(_window.TryLoad64(0, out var value));
        Assert.Equal(0UL, value);
    }

    [Theory]
    [InlineData(8, 8)]
    [InlineData(8, 3)]
    [InlineData(8, 20)]
    public void Move_keeps_contents_and_returns_the_old_range(int pages, int newPages)
    {
        Map(0, (ulong)pages * Page);
        for (var i = 0; i < pages; i++) _window.TryStore64((ulong)i * Page, (ulong)i + 1);
        const ulong to = 100 * Page;
        Map(to, 2 * Page); // is replaced
        Assert.Equal(0, _window.Move(0, (ulong)pages * Page, to, (ulong)newPages * Page));
        for (var i = 0; i < newPages; i++)
        {
            Assert.True(_window.TryLoad64(to + (ulong)i * Page, out var value));
            Assert.Equal(i < pages ? (ulong)i + 1 : 0, value);
        }
        for (var i = 0; i < pages; i++) Assert.False(_window.TryLoad64((ulong)i * Page, out _));
        Assert.False(_window.TryLoad64(to + (ulong)newPages * Page, out _));
    }

    [Fact]
    public void Move_works_on_shared_file_mappings()
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, Enumerable.Range(0, 16384).Select(i => (byte)(i / 4096 + 1)).ToArray());
            using var file = File.Open(path, FileMode.Open, FileAccess.ReadWrite);
            Assert.Equal(0, _window.MapFile(0, 2 * Page, Protection.Read, (int)file.SafeFileHandle.DangerousGetHandle(), 0, shared: true));
            Assert.Equal(0, _window.Move(0, 2 * Page, 10 * Page, 4 * Page));
            Assert.True(_window.TryLoad8(13 * Page, out var last));
            Assert.Equal(4, last);
            Assert.False(_window.TryLoad8(0, out _));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Accesses_allocate_nothing()
    {
        Map(0, 2 * Page);
        var buffer = new byte[64];
        Span<byte> span = buffer;
        Use(10);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Use(200_000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Use(int rounds)
        {
            for (var i = 0; i < rounds; i++)
            {
                var offset = (ulong)i & 0xFF8;
                _window.TryStore64(offset, (ulong)i);
                _window.TryLoad64(offset, out _);
                _window.TryCompareExchange32(offset, 1, 2, out _);
                _window.Read(offset, buffer);
                _window.Write(offset, buffer);
                if (i % 100 == 0) _window.TryLoad64(5 * Page, out _);
            }
        }
    }
}
