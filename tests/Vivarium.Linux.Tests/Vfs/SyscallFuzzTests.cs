using Vivarium.Host;
using Vivarium.Linux.Syscalls;

namespace Vivarium.Linux.Tests.Vfs;

/// <summary>Every file, socket and poll syscall with arguments at random: an errno or a result, never an exception, and nothing outside the root.</summary>
public class SyscallFuzzTests
{
    private static readonly string[] Strings =
    [
        "", "/", ".", "..", "/file", "file", "dir", "/dir/", "link", "/link/x", "/proc", "/proc/self/fd", "/proc/self/fd/3", "/proc/self/maps", "/dev", "/dev/null",
        "/dev/fd/4", "/dev/shm", "/dev/shm/x", "/sys/devices/system/cpu/online", "../../../etc", "/out", "/out/secret", "user.name", "/dir/../file", "new", "dir/new",
    ];

    // These would sleep for ever on purpose, change viv's own limits, or write back the host's whole cache again and again.
    private static readonly HashSet<string> Left = ["sync", "syncfs", "flock", "fcntl", "fallocate"];

    [Fact]
    public void Random_arguments()
    {
        using var outside = new TemporaryDirectory();
        outside.File("secret", "SECRET");
        using var root = new TemporaryDirectory();
        root.File("file", "contents");
        root.File("dir/inner", "more");
        root.Link("link", "dir");
        root.Link("out", outside.Path);
        using var guest = new Guest(root.Path);
        var rows = FileSyscalls.Rows.Concat(SocketSyscalls.Rows).Concat(PollSyscalls.Rows).Where(row => !Left.Contains(row.Name)).ToArray();
        int seed = Environment.TickCount;
        var random = new Random(seed);

        ulong Value()
        {
            ulong address = Guest.Low + (ulong)random.Next(0x400) * 8;
            return random.Next(12) switch
            {
                0 => 0,
                1 => ulong.MaxValue,
                2 => (ulong)random.NextInt64(),
                3 => unchecked((ulong)-100),
                4 or 5 => (ulong)random.Next(12),
                6 => 1UL << random.Next(64),
                7 => Guest.Low + Guest.Size - (ulong)random.Next(64),
                8 => (ulong)random.Next(4096),
                _ => address,
            };
        }

        using var stop = new CancellationTokenSource();
        var self = HostThread.Current;
        var kicker = new Thread(() =>
        {
            // Whatever blocks is interrupted.
            while (!stop.IsCancellationRequested)
            {
                Thread.Sleep(2);
                self.Kick();
            }
        });
        kicker.Start();
        try
        {
            for (int i = 0; i < 6000; i++)
            {
                var row = rows[random.Next(rows.Length)];
                // Some memory that makes sense: paths, small numbers, pointers.
                for (int k = 0; k < 4; k++)
                {
                    ulong at = Guest.Low + (ulong)random.Next(0x400) * 8;
                    if (random.Next(2) == 0) guest.Put(at, System.Text.Encoding.UTF8.GetBytes(Strings[random.Next(Strings.Length)] + "\0"));
                    else guest.Window.TryStore64(at, Value());
                }
                var args = new SyscallArgs(random.Next(2) == 0 ? (ulong)random.Next(20) : Value(), Value(), Value(), Value(), Value(), Value());
                // Descriptor numbers must not reach the test host's own files by chance: the guest's table starts empty.
                try
                {
                    self.ClearKick();
                    long result = row.Handler(guest.Thread, args);
                    Assert.True(result >= -4095 || result == -Errno.ERESTARTSYS || (ulong)result > 4096, $"{row.Name}: {result}");
                }
                catch (Exception error) when (error is not Xunit.Sdk.XunitException)
                {
                    Assert.Fail($"seed {seed}, call {i}: {row.Name}{args}: {error}");
                }
            }
        }
        finally
        {
            stop.Cancel();
            kicker.Join();
            self.ClearKick();
        }
        Assert.Equal(["secret"], Directory.GetFileSystemEntries(outside.Path).Select(Path.GetFileName));
        Assert.Equal("SECRET", File.ReadAllText(Path.Combine(outside.Path, "secret")));
    }
}
