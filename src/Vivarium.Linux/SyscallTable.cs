using Vivarium.Linux.Ipc;
using Vivarium.Linux.Syscalls;

namespace Vivarium.Linux;

/// <summary>The six argument registers a0..a5 of a syscall.</summary>
public readonly record struct SyscallArgs(ulong A0, ulong A1, ulong A2, ulong A3, ulong A4, ulong A5);

/// <summary>One syscall: returns the value for a0, errors as negative errno (see <see cref="Errno"/>).</summary>
public delegate long SyscallHandler(GuestThread thread, in SyscallArgs args);

/// <summary>A row of the syscall table (numbers of asm-generic/unistd.h).</summary>
/// <param name="Number">What the guest puts into a7.</param>
/// <param name="Name">The kernel's name.</param>
/// <param name="Arguments">How strace shows the arguments, one word each: <c>fd path flags:open mode int uint hex ptr size buf:a2 str
/// signal ...</c> (see <c>Strace</c>).</param>
/// <param name="Handler">What it does.</param>
public readonly record struct SyscallRow(int Number, string Name, string Arguments, SyscallHandler Handler);

/// <summary>All syscalls by number, assembled from the rows of the subsystems.</summary>
public sealed class SyscallTable
{
    /// <summary>Numbers at or above this are unknown without a look.</summary>
    public const int Limit = 512;

    private readonly SyscallHandler?[] _handlers = new SyscallHandler?[Limit];
    private readonly SyscallRow[] _rows = new SyscallRow[Limit];

    public SyscallTable(params ReadOnlySpan<SyscallRow[]> groups)
    {
        foreach (var group in groups)
        {
            foreach (var row in group)
            {
                if (_handlers[row.Number] != null)
                    throw new InvalidOperationException($"syscall {row.Number} has two rows: {_rows[row.Number].Name} and {row.Name}");
                _handlers[row.Number] = row.Handler;
                _rows[row.Number] = row;
            }
        }
    }

    /// <summary>Every subsystem's rows.</summary>
    public static SyscallTable Default { get; } = new(
        ProcessSyscalls.Rows, ThreadSyscalls.Rows, MemorySyscalls.Rows, SignalSyscalls.Rows, TimeSyscalls.Rows,
        FileSyscalls.Rows, SocketSyscalls.Rows, PollSyscalls.Rows,
        SharedSegmentSyscalls.Rows, SemaphoreSyscalls.Rows, MessageQueueSyscalls.Rows, PosixQueueSyscalls.Rows, Ptrace.PtraceSyscalls.Rows);

    /// <summary>The handler, or null for a syscall that we do not have.</summary>
    public SyscallHandler? Find(ulong number) => number < Limit ? _handlers[number] : null;

    /// <summary>The row of an existing syscall; a default row (null name) for an unknown one.</summary>
    public SyscallRow Row(ulong number) => number < Limit ? _rows[number] : default;

    /// <summary>All rows that exist, by number.</summary>
    public IEnumerable<SyscallRow> Rows => _rows.Where(row => row.Name != null);
}
