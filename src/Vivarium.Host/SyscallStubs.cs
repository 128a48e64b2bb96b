namespace Vivarium.Host;

/// <summary>Emitted raw syscalls.</summary>
internal readonly unsafe struct SyscallStubs
{
    /// <summary>(number, six arguments). Callable with and without a GC transition.</summary>
    public readonly ulong Plain;

    /// <summary>(address of the kick flag, number, six arguments): -EINTR at once where the flag is set, else the syscall. A kick whose
    /// handler finds rip in [<see cref="InterruptibleCheck"/>, +<see cref="InterruptibleSpan"/>] goes to <see cref="InterruptibleExit"/>.</summary>
    public readonly ulong Interruptible;

    /// <summary>Address of the flag test.</summary>
    public readonly ulong InterruptibleCheck;

    /// <summary>Distance from the flag test to the <c>syscall</c> instruction: standing on it, the kernel has not been entered (or it has
    /// backed out to restart), so nothing is lost by not doing it.</summary>
    public const int InterruptibleSpan = 6;

    public readonly ulong InterruptibleExit;

    public SyscallStubs(StubWriter code)
    {
        code.Align(16);
        Plain = code.Here;
        code.Bytes(0x48, 0x89, 0xF8);               // mov rax, rdi
        code.Bytes(0x48, 0x89, 0xF7);               // mov rdi, rsi
        code.Bytes(0x48, 0x89, 0xD6);               // mov rsi, rdx
        code.Bytes(0x48, 0x89, 0xCA);               // mov rdx, rcx
        code.Bytes(0x4D, 0x89, 0xC2);               // mov r10, r8
        code.Bytes(0x4D, 0x89, 0xC8);               // mov r8, r9
        code.Bytes(0x4C, 0x8B, 0x4C, 0x24, 0x08);   // mov r9, [rsp+8]
        code.Bytes(0x0F, 0x05);                     // syscall
        code.Bytes(0xC3);                           // ret

        code.Align(16);
        Interruptible = code.Here;
        var exit = code.NewLabel();
        code.Bytes(0x49, 0x89, 0xFB);               // mov r11, rdi
        code.Bytes(0x48, 0x89, 0xF0);               // mov rax, rsi
        code.Bytes(0x48, 0x89, 0xD7);               // mov rdi, rdx
        code.Bytes(0x48, 0x89, 0xCE);               // mov rsi, rcx
        code.Bytes(0x4C, 0x89, 0xC2);               // mov rdx, r8
        code.Bytes(0x4D, 0x89, 0xCA);               // mov r10, r9
        code.Bytes(0x4C, 0x8B, 0x44, 0x24, 0x08);   // mov r8, [rsp+8]
        code.Bytes(0x4C, 0x8B, 0x4C, 0x24, 0x10);   // mov r9, [rsp+16]
        InterruptibleCheck = code.Here;
        code.Bytes(0x41, 0x83, 0x3B, 0x00);         // cmp dword [r11], 0
        code.Jump(0x75, exit);                      // jne exit
        if (code.Here - InterruptibleCheck != InterruptibleSpan) throw new InvalidOperationException("interruptible stub is laid out wrongly");
        code.Bytes(0x0F, 0x05);                     // syscall
        code.Bytes(0xC3);                           // ret
        code.Bind(exit);
        InterruptibleExit = code.Here;
        code.Bytes(0x48, 0xC7, 0xC0, 0xFC, 0xFF, 0xFF, 0xFF); // mov rax, -EINTR
        code.Bytes(0xC3);                           // ret
    }
}
