using FsCheck;
using FsCheck.Fluent;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Tests.Vfs;

/// <summary>Descriptor numbers against a model that is a dictionary.</summary>
public class FileTableTests
{
    private static OpenFile NewFile()
    {
        // eventfd2: the cheapest descriptor to have.
        return new OpenFile((int)HostSyscall.Invoke(290, 0, 0x80000));
    }

    private static bool IsOpen(int host) => HostSyscall.Invoke(72, host, 1) >= 0;

    [Fact]
    public void Behaves_like_the_model()
    {
        var operation = from kind in Gen.Choose(0, 6) from a in Gen.Choose(0, 140) from b in Gen.Choose(0, 140) select (kind, a, b);
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(60), Prop.ForAll(Arb.From(Gen.ListOf(operation)), operations =>
        {
            var table = new FileTable();
            var model = new SortedDictionary<int, (OpenFile File, bool Cloexec)>();
            foreach (var (kind, a, b) in operations)
            {
                switch (kind)
                {
                    case 0: // open
                    case 1:
                    {
                        var file = NewFile();
                        bool cloexec = (b & 1) != 0;
                        int minimum = kind == 0 ? 0 : a, expected = minimum;
                        while (model.ContainsKey(expected)) expected++;
                        int fd = table.Install(file, cloexec, 128, minimum);
                        if (expected >= 128)
                        {
                            Assert.Equal(-Errno.EMFILE, fd);
                            file.Release();
                            break;
                        }
                        Assert.Equal(expected, fd);
                        model[fd] = (file, cloexec);
                        break;
                    }
                    case 2: // close
                        Assert.Equal(model.Remove(a) ? 0 : -Errno.EBADF, table.Close(a));
                        break;
                    case 3: // dup2
                    {
                        var file = table.Acquire(a);
                        Assert.Equal(model.ContainsKey(a), file != null);
                        if (file == null) break;
                        table.Set(b, file, false);
                        model[b] = (file, false);
                        break;
                    }
                    case 4:
                        Assert.Equal(model.ContainsKey(a), table.SetCloseOnExec(a, (b & 1) != 0));
                        if (model.TryGetValue(a, out var entry)) model[a] = (entry.File, (b & 1) != 0);
                        break;
                    case 5:
                        table.CloseRange((uint)Math.Min(a, b), (uint)Math.Max(a, b), (a & 1) != 0);
                        for (int fd = Math.Min(a, b); fd <= Math.Max(a, b); fd++)
                        {
                            if (!model.TryGetValue(fd, out var one)) continue;
                            if ((a & 1) != 0) model[fd] = (one.File, true);
                            else model.Remove(fd);
                        }
                        break;
                    default: // exec
                        if (b > 10) break;
                        table.CloseOnExec();
                        foreach (var fd in model.Where(pair => pair.Value.Cloexec).Select(pair => pair.Key).ToArray()) model.Remove(fd);
                        break;
                }
            }
            Assert.Equal(model.Keys.ToList(), table.Numbers());
            foreach (var (fd, (file, cloexec)) in model)
            {
                Assert.Equal(cloexec, table.IsCloseOnExec(fd));
                var found = table.Acquire(fd);
                Assert.Same(file, found);
                found!.Release();
                Assert.True(IsOpen(file.HostDescriptor));
            }
            var copy = table.Clone();
            table.CloseAll();
            foreach (var (_, (file, _)) in model) Assert.True(IsOpen(file.HostDescriptor));
            copy.CloseAll();
            Assert.Empty(copy.Numbers());
        }));
    }

    [Fact]
    public void The_last_reference_closes_the_host_descriptor()
    {
        var table = new FileTable();
        var file = NewFile();
        int host = file.HostDescriptor;
        int fd = table.Install(file, false, 10);
        var inUse = table.Acquire(fd)!;
        Assert.Equal(0, table.Close(fd));
        Assert.Null(table.Acquire(fd));
        Assert.True(IsOpen(host));
        inUse.Release();
        Assert.False(inUse.TryAcquire());
    }

    [Fact]
    public void Look_ups_survive_closing_and_growing_at_the_same_time()
    {
        var table = new FileTable();
        using var stop = new CancellationTokenSource();
        var changer = new Thread(() =>
        {
            for (int i = 0; !stop.IsCancellationRequested; i++)
            {
                int fd = table.Install(NewFile(), false, 1000, i % 300);
                table.Close(fd);
            }
        });
        changer.Start();
        for (int i = 0; i < 200_000; i++) table.Acquire(i % 300)?.Release();
        stop.Cancel();
        changer.Join();
        table.CloseAll();
    }
}
