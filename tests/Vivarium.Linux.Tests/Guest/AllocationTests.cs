namespace Vivarium.Linux.Tests.Guest;

/// <summary>Calls that programs make all the time leave nothing for the garbage collector.</summary>
public sealed class AllocationTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("viv-allocation-").FullName;
    private readonly Vfs.Guest _guest;

    public AllocationTests() => _guest = new Vfs.Guest(_directory);

    public void Dispose()
    {
        _guest.Dispose();
        Directory.Delete(_directory, true);
    }

    [Theory]
    [InlineData(172, 0, 0, 0, 0)] // getpid
    [InlineData(173, 0, 0, 0, 0)] // getppid
    [InlineData(178, 0, 0, 0, 0)] // gettid
    [InlineData(174, 0, 0, 0, 0)] // getuid
    [InlineData(113, 1, 1, 0, 0)] // clock_gettime
    [InlineData(169, 1, 0, 0, 0)] // gettimeofday
    [InlineData(135, 0, 0, 1, 8)] // rt_sigprocmask
    [InlineData(134, 10, 0, 1, 8)] // rt_sigaction
    [InlineData(98, 1, 129, 1, 0)] // futex, FUTEX_WAKE|PRIVATE
    [InlineData(124, 0, 0, 0, 0)] // sched_yield
    [InlineData(261, 0, 3, 0, 1)] // prlimit64
    public void HotCallsAllocateNothing(int number, int a0, int a1, int a2, int a3)
    {
        // 1 stands for a guest address where the call takes one.
        bool pointer0 = number is 98 or 169, pointer1 = number == 113, pointer2 = number is 135 or 134, pointer3 = number == 261;
        var args = new SyscallArgs(Value(a0, pointer0), Value(a1, pointer1), Value(a2, pointer2), Value(a3, pointer3), 0, 0);
        var handler = SyscallTable.Default.Find((ulong)number)!;
        long least = long.MaxValue;
        // The runtime's own work on this thread (tiering) may allocate once; a call that allocates does so every time.
        for (int attempt = 0; attempt < 5 && least != 0; attempt++)
        {
            for (int i = 0; i < 50; i++) Assert.InRange(handler(_guest.Thread, args), -1, long.MaxValue);
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 500; i++) handler(_guest.Thread, args);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        Assert.Equal(0, least);

        static ulong Value(int value, bool pointer) => pointer ? Vfs.Guest.Low + 64 : (ulong)value;
    }

    /// <summary>read, write, epoll_wait, futex, stat and clocks, on real descriptors.</summary>
    [Fact]
    public void HotFileCallsAllocateNothing()
    {
        const ulong Buffer = Vfs.Guest.Low + 0x8000, Path = Vfs.Guest.Low + 0x4000, Events = Vfs.Guest.Low + 0xC000;
        File.WriteAllText(System.IO.Path.Combine(_directory, "file"), new string('x', 8192));
        _guest.Put(Path, "/file\0"u8);
        long file = _guest.Call(56, -100, "/file", 2, 0), events = _guest.Call(19, 0, 0), set = _guest.Call(20, 0);
        Assert.True(file >= 0 && events >= 0 && set >= 0);
        Assert.Equal(0, _guest.Call(21, set, 1, events, new byte[] { 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0 }));
        _guest.Put(Buffer, [1, 0, 0, 0, 0, 0, 0, 0]);
        (string Name, int Number, SyscallArgs Arguments)[] calls =
        [
            ("write eventfd", 64, new SyscallArgs((ulong)events, Buffer, 8, 0, 0, 0)),
            ("epoll_pwait", 22, new SyscallArgs((ulong)set, Events, 4, 0, 0, 8)),
            ("read eventfd", 63, new SyscallArgs((ulong)events, Buffer, 8, 0, 0, 0)),
            ("pread64", 67, new SyscallArgs((ulong)file, Buffer + 64, 4096, 0, 0, 0)),
            ("pwrite64", 68, new SyscallArgs((ulong)file, Buffer + 64, 4096, 0, 0, 0)),
            ("readv", 69, new SyscallArgs((ulong)file, Events + 64, 0, 0, 0, 0)),
            ("lseek", 62, new SyscallArgs((ulong)file, 0, 0, 0, 0, 0)),
            ("fstat", 80, new SyscallArgs((ulong)file, Events + 64, 0, 0, 0, 0)),
            ("newfstatat", 79, new SyscallArgs(unchecked((ulong)-100), Path, Events + 64, 0, 0, 0)),
            ("faccessat", 48, new SyscallArgs(unchecked((ulong)-100), Path, 4, 0, 0, 0)),
            ("futex wait, other value", 98, new SyscallArgs(Events + 512, 128, 5, 0, 0, 0)),
            ("futex wake", 98, new SyscallArgs(Events + 512, 129, 1, 0, 0, 0)),
            ("clock_gettime", 113, new SyscallArgs(1, Buffer + 64, 0, 0, 0, 0)),
        ];
        var handlers = calls.Select(call => SyscallTable.Default.Find((ulong)call.Number)!).ToArray();
        for (int call = 0; call < calls.Length; call++)
        {
            // The three on the eventfd go together.
            if (call is 1 or 2) continue;
            int last = call == 0 ? 2 : call;
            long least = long.MaxValue;
            for (int attempt = 0; attempt < 5 && least != 0; attempt++)
            {
                for (int i = 0; i < 200; i++) Round();
                long before = GC.GetAllocatedBytesForCurrentThread();
                for (int i = 0; i < 10_000; i++) Round();
                least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
            }
            Assert.True(least == 0, $"{calls[call].Name}: {least} bytes in 10000 calls");

            void Round()
            {
                for (int i = call; i <= last; i++)
                {
                    long result = handlers[i](_guest.Thread, calls[i].Arguments);
                    if (result < 0 && result != -Errno.EAGAIN) Assert.Fail($"{calls[i].Name}: {result}");
                }
            }
        }
    }
}
