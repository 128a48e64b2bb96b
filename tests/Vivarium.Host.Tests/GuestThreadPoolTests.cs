using Vivarium.Host;

namespace Vivarium.Host.Tests;

public sealed class GuestThreadPoolTests
{
    [Fact]
    public void Threads_are_used_again()
    {
        using var pool = new GuestThreadPool();
        var ids = new HashSet<int>();
        using var done = new SemaphoreSlim(0);
        for (var i = 0; i < 200; i++)
        {
            pool.Start(() =>
            {
                ids.Add(HostThread.Current.Id);
                Assert.True(Thread.CurrentThread.IsBackground);
                done.Release();
            });
            done.Wait();
            while (pool.IdleCount == 0) Thread.Yield();
        }
        Assert.Single(ids);
    }

    [Fact]
    public void Many_at_once_all_run_and_a_new_body_starts_without_a_kick_pending()
    {
        using var pool = new GuestThreadPool(maxIdle: 4);
        for (var round = 0; round < 20; round++)
        {
            using var all = new CountdownEvent(32);
            var kicked = 0;
            for (var i = 0; i < 32; i++)
                pool.Start(() =>
                {
                    if (HostThread.Current.IsKicked) Interlocked.Increment(ref kicked);
                    HostThread.Current.Kick();
                    all.Signal();
                });
            all.Wait();
            Assert.Equal(0, kicked);
        }
        Assert.InRange(pool.IdleCount, 0, 4);
    }

    [Fact]
    public void A_disposed_pool_takes_nothing_more()
    {
        var pool = new GuestThreadPool();
        using var ran = new ManualResetEventSlim();
        pool.Start(ran.Set);
        ran.Wait();
        pool.Dispose();
        Assert.Throws<ObjectDisposedException>(() => pool.Start(() => { }));
    }

    [Fact]
    public void Stacks_have_the_size_asked_for()
    {
        using var pool = new GuestThreadPool();
        using var done = new ManualResetEventSlim();
        var sum = 0;
        pool.Start(() =>
        {
            Span<byte> deep = stackalloc byte[700_000];
            deep.Fill(1);
            sum = deep[^1];
            done.Set();
        });
        done.Wait();
        Assert.Equal(1, sum);
    }
}
