using Vivarium.Host;

namespace Vivarium.Host.Tests;

public sealed class HostFutexTests : IDisposable
{
    private readonly MemoryWindow _window = MemoryWindow.Reserve(1 << 20);

    public HostFutexTests() => Assert.Equal(0, _window.MapAnonymous(0, 8192, Protection.Read | Protection.Write));

    public void Dispose() => _window.Dispose();

    [Fact]
    public void Wait_answers_like_the_kernel()
    {
        var thread = HostThread.Current;
        thread.ClearKick();
        Assert.Equal(-11, HostFutex.Wait(thread, _window, 0, 1));
        Assert.Equal(-110, HostFutex.Wait(thread, _window, 0, 0, deadlineNanoseconds: 1));
        Assert.Equal(-110, HostFutex.Wait(thread, _window, 0, 0, deadlineNanoseconds: 1, realtime: true, isPrivate: false));
        Assert.Equal(-14, HostFutex.Wait(thread, _window, 16384, 0));
        Assert.Equal(-14, HostFutex.Wait(thread, _window, ulong.MaxValue - 1, 0));
        Assert.Equal(-14, HostFutex.Wake(_window, 1 << 20, 1));
        Assert.Equal(-22, HostFutex.Wait(thread, _window, 2, 0));
        Assert.Equal(0, HostFutex.Wake(_window, 0, 1));
        thread.Kick();
        Assert.Equal(-4, HostFutex.Wait(thread, _window, 0, 0));
        thread.ClearKick();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Ping_pong(bool isPrivate)
    {
        const int rounds = 2_000;
        var other = new Thread(() =>
        {
            for (var i = 0; i < rounds; i++)
            {
                WaitFor((uint)(2 * i + 1), isPrivate);
                _window.TryStore32(0, (uint)(2 * i + 2));
                HostFutex.Wake(_window, 0, 1, isPrivate: isPrivate);
            }
        });
        other.Start();
        for (var i = 0; i < rounds; i++)
        {
            _window.TryStore32(0, (uint)(2 * i + 1));
            HostFutex.Wake(_window, 0, 1, isPrivate: isPrivate);
            WaitFor((uint)(2 * i + 2), isPrivate);
        }
        other.Join();
    }

    private void WaitFor(uint value, bool isPrivate)
    {
        var thread = HostThread.Current;
        while (true)
        {
            _window.TryLoad32(0, out var seen);
            if (seen == value) return;
            HostFutex.Wait(thread, _window, 0, seen, isPrivate: isPrivate);
        }
    }

    [Fact]
    public void Shared_futexes_meet_across_windows()
    {
        using var file = Memfd.Create("futex", 4096);
        using var second = MemoryWindow.Reserve(1 << 20);
        Assert.Equal(0, _window.MapFile(0, 4096, Protection.Read | Protection.Write, file.Descriptor, 0, shared: true));
        Assert.Equal(0, second.MapFile(4096, 4096, Protection.Read | Protection.Write, file.Descriptor, 0, shared: true));
        var result = -1;
        var thread = new Thread(() => result = HostFutex.Wait(HostThread.Current, _window, 8, 0, isPrivate: false));
        thread.Start();
        while (HostFutex.Wake(second, 4096 + 8, 1, isPrivate: false) == 0) Thread.Yield();
        thread.Join();
        Assert.Equal(0, result);
    }

    [Fact]
    public void Requeue_moves_sleepers()
    {
        var threads = Enumerable.Range(0, 3).Select(_ => new Thread(() => HostFutex.Wait(HostThread.Current, _window, 16, 0))).ToArray();
        foreach (var thread in threads) thread.Start();
        Assert.Equal(-11, HostFutex.Requeue(_window, 16, 32, 0, 1, expected: 5));
        var moved = 0;
        while (moved < 3)
        {
            moved += HostFutex.Requeue(_window, 16, 32, 0, int.MaxValue, expected: 0);
            Thread.Yield();
        }
        Assert.Equal(0, HostFutex.Wake(_window, 16, 10));
        Assert.Equal(3, HostFutex.Wake(_window, 32, 10));
        foreach (var thread in threads) thread.Join();
        Assert.Equal(0, HostFutex.WakeOp(_window, 16, 32, 1, 1, 0x0000_5000 /* set 5 */));
        _window.TryLoad32(32, out var word);
        Assert.Equal(5u, word);
    }
}
