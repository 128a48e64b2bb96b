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
}
