using System.Globalization;
using System.Text;
using Vivarium.Linux.Signals;

namespace Vivarium.Linux.Tracing;

/// <summary>How each kind of argument in <see cref="SyscallRow.Arguments"/> is shown.</summary>
internal static class StraceArguments
{
    private const int ShownBytes = 32;

    private static readonly Dictionary<string, (ulong Bit, string Name)[]> s_flags = new()
    {
        ["open"] =
        [
            (1, "O_WRONLY"), (2, "O_RDWR"), (0x40, "O_CREAT"), (0x80, "O_EXCL"), (0x100, "O_NOCTTY"), (0x200, "O_TRUNC"), (0x400, "O_APPEND"),
            (0x800, "O_NONBLOCK"), (0x101000, "O_SYNC"), (0x410000, "O_TMPFILE"), (0x4000, "O_DIRECT"), (0x10000, "O_DIRECTORY"), (0x20000, "O_NOFOLLOW"),
            (0x8000, "O_LARGEFILE"), (0x40000, "O_NOATIME"), (0x80000, "O_CLOEXEC"), (0x200000, "O_PATH"),
        ],
        ["mmap"] =
        [
            (3, "MAP_SHARED_VALIDATE"), (1, "MAP_SHARED"), (2, "MAP_PRIVATE"), (0x10, "MAP_FIXED"), (0x20, "MAP_ANONYMOUS"), (0x100, "MAP_GROWSDOWN"),
            (0x800, "MAP_DENYWRITE"), (0x2000, "MAP_LOCKED"), (0x4000, "MAP_NORESERVE"), (0x8000, "MAP_POPULATE"), (0x20000, "MAP_STACK"),
            (0x40000, "MAP_HUGETLB"), (0x100000, "MAP_FIXED_NOREPLACE"),
        ],
        ["mremap"] = [(1, "MREMAP_MAYMOVE"), (2, "MREMAP_FIXED"), (4, "MREMAP_DONTUNMAP")],
        ["msync"] = [(1, "MS_ASYNC"), (2, "MS_INVALIDATE"), (4, "MS_SYNC")],
        ["at"] = [(0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_REMOVEDIR"), (0x400, "AT_SYMLINK_FOLLOW"), (0x800, "AT_NO_AUTOMOUNT"), (0x1000, "AT_EMPTY_PATH")],
        ["clone"] =
        [
            (0x100, "CLONE_VM"), (0x200, "CLONE_FS"), (0x400, "CLONE_FILES"), (0x800, "CLONE_SIGHAND"), (0x1000, "CLONE_PIDFD"), (0x4000, "CLONE_VFORK"),
            (0x8000, "CLONE_PARENT"), (0x10000, "CLONE_THREAD"), (0x40000, "CLONE_SYSVSEM"), (0x80000, "CLONE_SETTLS"), (0x100000, "CLONE_PARENT_SETTID"),
            (0x200000, "CLONE_CHILD_CLEARTID"), (0x1000000, "CLONE_CHILD_SETTID"),
        ],
    };

    private static readonly string[] s_futex =
    [
        "FUTEX_WAIT", "FUTEX_WAKE", "FUTEX_FD", "FUTEX_REQUEUE", "FUTEX_CMP_REQUEUE", "FUTEX_WAKE_OP", "FUTEX_LOCK_PI", "FUTEX_UNLOCK_PI",
        "FUTEX_TRYLOCK_PI", "FUTEX_WAIT_BITSET", "FUTEX_WAKE_BITSET", "FUTEX_WAIT_REQUEUE_PI", "FUTEX_CMP_REQUEUE_PI", "FUTEX_LOCK_PI2",
    ];

    private static readonly string[] s_clocks =
    [
        "CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_PROCESS_CPUTIME_ID", "CLOCK_THREAD_CPUTIME_ID", "CLOCK_MONOTONIC_RAW", "CLOCK_REALTIME_COARSE",
        "CLOCK_MONOTONIC_COARSE", "CLOCK_BOOTTIME",
    ];

    private static readonly string[] s_limits =
    [
        "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_MEMLOCK",
        "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
    ];

    private static readonly string[] s_madvice = ["MADV_NORMAL", "MADV_RANDOM", "MADV_SEQUENTIAL", "MADV_WILLNEED", "MADV_DONTNEED", "5", "6", "7", "MADV_FREE"];

    /// <summary>Whether an argument is a buffer that the call fills, so that it is shown afterwards.</summary>
    public static bool IsFilledIn(string kind, string syscall) =>
        kind.StartsWith("buf", StringComparison.Ordinal) && syscall is "read" or "pread64" or "recvfrom" or "readlinkat" or "getcwd" or "getrandom";

    public static void Append(StringBuilder line, GuestThread thread, string kind, int position, in SyscallArgs args, long result)
    {
        ulong value = Argument(args, position);
        int colon = kind.IndexOf(':');
        string name = colon < 0 ? kind : kind[..colon], detail = colon < 0 ? "" : kind[(colon + 1)..];
        switch (name)
        {
            case "fd":
                line.Append((int)value == -100 ? "AT_FDCWD" : ((int)value).ToString(CultureInfo.InvariantCulture));
                break;
            case "int": line.Append((int)value); break;
            case "uint": line.Append((uint)value); break;
            case "size" or "off" or "long": line.Append((long)value); break;
            case "mode": line.Append('0').Append(Convert.ToString((long)(value & 0xffff), 8)); break;
            case "path" or "str": AppendString(line, thread, value); break;
            case "buf":
                ulong length = detail is ['a', >= '0' and <= '5'] ? Argument(args, detail[1] - '0') : ShownBytes;
                if (result > 0) length = Math.Min(length, (ulong)result);
                AppendBytes(line, thread, value, length);
                break;
            case "flags": AppendFlags(line, value, detail); break;
            case "prot": AppendProtection(line, value); break;
            case "signal": line.Append(Signal.Name((int)value)); break;
            case "sighow": line.Append(value switch { 0 => "SIG_BLOCK", 1 => "SIG_UNBLOCK", 2 => "SIG_SETMASK", _ => $"{value}" }); break;
            case "sigset":
                if (value == 0) line.Append("NULL");
                else if (thread.Window.TryLoad64(value, out ulong set)) AppendSignalSet(line, set);
                else AppendPointer(line, value);
                break;
            case "sigaction":
                if (value != 0 && thread.Window.TryRead(value, out SignalAction action))
                    line.Append("{sa_handler=").Append(action.Handler switch { 0 => "SIG_DFL", 1 => "SIG_IGN", var handler => $"0x{handler:x}" }).Append($", sa_flags=0x{action.Flags:x}}}");
                else AppendPointer(line, value);
                break;
            case "timespec":
                if (value != 0 && thread.Window.TryRead(value, out Timespec time)) line.Append($"{{{time.Seconds}, {time.Nanoseconds}}}");
                else AppendPointer(line, value);
                break;
            case "futex":
                int operation = (int)value & 127;
                line.Append(operation < s_futex.Length ? s_futex[operation] : $"{operation}");
                if ((value & 128) != 0) line.Append("_PRIVATE");
                if ((value & 256) != 0) line.Append("|FUTEX_CLOCK_REALTIME");
                break;
            case "clock": AppendName(line, s_clocks, value); break;
            case "rlimit": AppendName(line, s_limits, value); break;
            case "madv": AppendName(line, s_madvice, value); break;
            case "argv": AppendVector(line, thread, value); break;
            case "hex": line.Append($"0x{value:x}"); break;
            default: AppendPointer(line, value); break;
        }
    }

    private static ulong Argument(in SyscallArgs args, int position) =>
        position switch { 0 => args.A0, 1 => args.A1, 2 => args.A2, 3 => args.A3, 4 => args.A4, _ => args.A5 };

    private static void AppendName(StringBuilder line, string[] names, ulong value) => line.Append(value < (ulong)names.Length ? names[value] : $"{(long)value}");

    private static void AppendPointer(StringBuilder line, ulong value) => line.Append(value == 0 ? "NULL" : $"0x{value:x}");

    private static void AppendString(StringBuilder line, GuestThread thread, ulong address)
    {
        string? text = address == 0 ? null : thread.Window.ReadString(address, 4096, out _);
        if (text == null) AppendPointer(line, address);
        else Quote(line, Encoding.Latin1.GetBytes(text));
    }

    private static void AppendBytes(StringBuilder line, GuestThread thread, ulong address, ulong length)
    {
        byte[] bytes = new byte[Math.Min(length, ShownBytes)];
        int count = address == 0 ? 0 : thread.Window.Read(address, bytes);
        if (count < bytes.Length)
        {
            AppendPointer(line, address);
            return;
        }
        Quote(line, bytes);
        if (length > ShownBytes) line.Append("...");
    }

    private static void Quote(StringBuilder line, ReadOnlySpan<byte> bytes)
    {
        line.Append('"');
        foreach (byte b in bytes)
        {
            switch (b)
            {
                case (byte)'\n': line.Append("\\n"); break;
                case (byte)'\t': line.Append("\\t"); break;
                case (byte)'\r': line.Append("\\r"); break;
                case (byte)'"' or (byte)'\\': line.Append('\\').Append((char)b); break;
                case >= 32 and < 127: line.Append((char)b); break;
                default: line.Append('\\').Append(Convert.ToString(b, 8)); break;
            }
        }
        line.Append('"');
    }

    private static void AppendFlags(StringBuilder line, ulong value, string kind)
    {
        if (!s_flags.TryGetValue(kind, out var names))
        {
            line.Append($"0x{value:x}");
            return;
        }
        int start = line.Length;
        if (kind == "open" && (value & 3) == 0) line.Append("O_RDONLY");
        foreach (var (bit, name) in names)
        {
            if (bit == 0 || (value & bit) != bit) continue;
            if (line.Length > start) line.Append('|');
            line.Append(name);
            value &= ~bit;
        }
        if (kind == "clone" && value is > 0 and <= Signal.Count)
        {
            line.Append(line.Length > start ? "|" : "").Append(Signal.Name((int)value));
            value = 0;
        }
        if (value != 0 || line.Length == start) line.Append(line.Length > start ? "|" : "").Append(value == 0 ? "0" : $"0x{value:x}");
    }

    private static void AppendProtection(StringBuilder line, ulong value)
    {
        if (value == 0)
        {
            line.Append("PROT_NONE");
            return;
        }
        int start = line.Length;
        if ((value & 1) != 0) line.Append("PROT_READ");
        if ((value & 2) != 0) line.Append(line.Length > start ? "|" : "").Append("PROT_WRITE");
        if ((value & 4) != 0) line.Append(line.Length > start ? "|" : "").Append("PROT_EXEC");
        if ((value & ~7UL) != 0) line.Append(line.Length > start ? "|" : "").Append($"0x{value & ~7UL:x}");
    }

    private static void AppendSignalSet(StringBuilder line, ulong set)
    {
        bool inverted = System.Numerics.BitOperations.PopCount(set) > 32;
        if (inverted) set = ~set;
        line.Append(inverted ? "~[" : "[");
        bool first = true;
        for (int signal = 1; signal <= Signal.Count; signal++)
        {
            if ((set & Signal.Bit(signal)) == 0) continue;
            if (!first) line.Append(' ');
            first = false;
            string name = Signal.Name(signal);
            line.Append(name.StartsWith("SIG", StringComparison.Ordinal) ? name[3..] : name);
        }
        line.Append(']');
    }

    private static void AppendVector(StringBuilder line, GuestThread thread, ulong address)
    {
        line.Append('[');
        for (int i = 0; i < 16; i++)
        {
            if (!thread.Window.TryLoad64(address + (ulong)i * 8, out ulong pointer) || pointer == 0) break;
            if (i > 0) line.Append(", ");
            AppendString(line, thread, pointer);
        }
        line.Append(']');
    }
}
