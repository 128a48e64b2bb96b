using System.Text;
using Vivarium.Linux.Signals;

namespace Vivarium.Linux.Tracing;

/// <summary>The log of <c>viv run --strace</c>: one line per syscall, decoded as <see cref="SyscallRow.Arguments"/> says.</summary>
/// <remarks>Thread-safe: lines are written whole. A call that blocks appears when it ends.</remarks>
internal sealed class Strace(TextWriter writer, SyscallTable table)
{
    private readonly Lock _lock = new();

    /// <summary>Serves a syscall and logs it.</summary>
    public long Call(GuestThread thread, ulong number, in SyscallArgs args)
    {
        var handler = table.Find(number);
        var line = new StringBuilder(128);
        line.Append('[').Append(thread.Tid).Append("] ");
        if (handler == null)
        {
            line.Append(SyscallNames.Name(number)).Append($"(0x{args.A0:x}, 0x{args.A1:x}, 0x{args.A2:x}, 0x{args.A3:x}) = -1 ENOSYS (not implemented)");
            Write(line);
            return thread.Process.Realm.Unimplemented(number);
        }
        var row = table.Row(number);
        string[] kinds = row.Arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        line.Append(row.Name).Append('(');
        // exit never comes back to be logged, and what execve reads is gone afterwards: arguments first, but for what the call fills in.
        int position = 0;
        foreach (string kind in kinds)
        {
            if (StraceArguments.IsFilledIn(kind, row.Name)) break;
            Append(line, thread, kind, position++, args);
        }
        if (number is 93 or 94)
        {
            line.Append(") = ?");
            Write(line);
            return handler(thread, args);
        }
        long result = handler(thread, args);
        for (; position < kinds.Length; position++) Append(line, thread, kinds[position], position, args, result);
        line.Append(") = ");
        AppendResult(line, row.Name, result);
        Write(line);
        return result;
    }

    public void SignalDelivered(GuestThread thread, in SigInfo info) =>
        Write(new StringBuilder($"[{thread.Tid}] --- {Signal.Name(info.Signal)} {{si_code={info.Code}, si_pid/addr=0x{info.Field0:x}}} ---"));

    private static void Append(StringBuilder line, GuestThread thread, string kind, int position, in SyscallArgs args, long result = 0)
    {
        if (position > 0) line.Append(", ");
        StraceArguments.Append(line, thread, kind, position, args, result);
    }

    private static void AppendResult(StringBuilder line, string name, long result)
    {
        if (result is < 0 and > -4096)
        {
            line.Append(result < -511 ? "? " : "-1 ").Append(ErrnoNames.Name((int)-result));
            return;
        }
        if (name is "mmap" or "brk" or "mremap" or "rt_sigreturn") line.Append($"0x{result:x}");
        else line.Append(result);
    }

    private void Write(StringBuilder line)
    {
        line.Append('\n');
        lock (_lock)
        {
            writer.Write(line);
            writer.Flush();
        }
    }
}
