using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

/// <summary>The process's one block of emitted stubs: copy stubs, syscall stubs and the signal handlers, with the tables that the
/// handlers read. Process-wide because signal handlers are; made once, never freed, and executable but not writable afterwards.</summary>
internal static unsafe class StubPage
{
    private const int CodeBytes = 8192;
    private const int DataBytes = 8192;

    public static readonly CopyStubs Copy;
    public static readonly SyscallStubs Syscalls;
    public static readonly SignalStubs Signals;

    private static readonly delegate* unmanaged[SuppressGCTransition]<ulong> Xgetbv;

    /// <summary>XCR0: the register files that the kernel saves. Only where CPUID says OSXSAVE.</summary>
    public static ulong ReadXcr0() => Xgetbv();

    static StubPage()
    {
        var memory = Libc.Mmap(0, CodeBytes + DataBytes, ProtRead | ProtWrite, MapPrivate | MapAnonymous, -1, 0);
        if (memory == -1) throw new OutOfMemoryException("cannot map memory for the host stubs");
        var code = new StubWriter((byte*)memory, CodeBytes);
        var data = (byte*)memory + CodeBytes;
        // SAFETY: `data` is DataBytes of fresh zeroed memory; SignalTables fits (checked below) and is only reached through pointers kept here.
        if (sizeof(SignalTables) > DataBytes) throw new InvalidOperationException("signal tables outgrew their pages");
        var tables = (SignalTables*)data;
        Copy = new CopyStubs(code, tables);
        Syscalls = new SyscallStubs(code);
        Signals = new SignalStubs(code, tables, Syscalls);
        code.Align(16);
        Xgetbv = (delegate* unmanaged[SuppressGCTransition]<ulong>)code.Here;
        code.Bytes(0x31, 0xC9);                     // xor ecx, ecx
        code.Bytes(0x0F, 0x01, 0xD0);               // xgetbv
        code.Bytes(0xC3);                           // ret             (eax is zero-extended; no bit above 31 matters here)
        code.Finish();
        if (Libc.Mprotect(memory, CodeBytes, ProtRead | ProtExec) != 0)
            throw new NotSupportedException("this host does not let a process make memory executable (mprotect PROT_EXEC refused)");
    }
}
