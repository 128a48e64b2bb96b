namespace Vivarium.Linux.Ipc;

/// <summary>How much System V inter-process communication there may be: sysvipc(7), proc_sys_kernel(5). Root may change it in <c>/proc/sys/kernel</c>.</summary>
/// <remarks>Single values, read and written without a lock.</remarks>
internal sealed class IpcLimits
{
    /// <summary>Bytes of a shared memory segment; pages of all; segments.</summary>
    public ulong SegmentBytes = ulong.MaxValue - (1UL << 24), SegmentPages = ulong.MaxValue - (1UL << 24);

    /// <inheritdoc cref="SegmentBytes"/>
    public ulong Segments = 4096;

    /// <summary>Semaphores in a set, in all sets, operations of a call, sets.</summary>
    public ulong SetSize = 32000, Semaphores = 1024000000, Operations = 500, Sets = 32000;

    /// <summary>Bytes of a message, of a new queue; queues.</summary>
    public ulong MessageBytes = 8192, QueueBytes = 16384, Queues = 32000;
}
