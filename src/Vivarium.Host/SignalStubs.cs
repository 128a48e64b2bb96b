namespace Vivarium.Host;

/// <summary>The signal handlers as machine code. They touch only the interrupted registers in the ucontext, the tables, and (for a fault
/// in a code region) the context that the region's rbp names; they call nothing and need no runtime state of the thread.</summary>
/// <remarks>Offsets used: siginfo si_code 8, si_addr 16; ucontext r11 64, rbp 120, rip 168; <see cref="RegionRecord"/>.</remarks>
internal readonly unsafe struct SignalStubs
{
    /// <summary>For SIGSEGV, SIGBUS and SIGFPE.</summary>
    public readonly ulong FaultHandler;

    /// <summary>For the kick signal.</summary>
    public readonly ulong KickHandler;

    /// <summary>For the sampling signal.</summary>
    public readonly ulong SampleHandler;

    /// <summary>sa_restorer: rt_sigreturn.</summary>
    public readonly ulong Restorer;

    public readonly SignalTables* Tables;

    public SignalStubs(StubWriter code, SignalTables* tables, SyscallStubs syscalls)
    {
        Tables = tables;
        var regions = (ulong)tables->Regions;

        // edi = signal, rsi = siginfo, rdx = ucontext; all three must reach an old handler unchanged.
        code.Align(16);
        FaultHandler = code.Here;
        int fixupLoop = code.NewLabel(), fixupHit = code.NewLabel(), scan = code.NewLabel(), chain = code.NewLabel(),
            inRegion = code.NewLabel(), setDefault = code.NewLabel(), own = code.NewLabel();
        code.Bytes(0x48, 0x8B, 0x82, 0xA8, 0, 0, 0); // mov rax, [rdx+168]        rip
        code.Bytes(0x83, 0x7E, 0x08, 0x00);         // cmp dword [rsi+8], 0       si_code: a kill() is no fault of ours
        code.Jump(0x7F, own);                       // jg own
        // Sent by somebody who wants this process to end by it. The runtime would only put the default action back and wait for the fault to come again.
        code.Bytes(0xB8, 0x0D, 0, 0, 0);            // mov eax, SYS_rt_sigaction
        code.MoveImmediate(0x48, 0xBE, (ulong)(&tables->DefaultAction)); // mov rsi, defaultAction
        code.Bytes(0x31, 0xD2);                     // xor edx, edx
        code.Bytes(0x41, 0xBA, 0x08, 0, 0, 0);      // mov r10d, 8
        code.Bytes(0x0F, 0x05);                     // syscall
        code.Bytes(0x41, 0x89, 0xF8);               // mov r8d, edi
        code.Bytes(0xB8, 0x27, 0, 0, 0);            // mov eax, SYS_getpid
        code.Bytes(0x0F, 0x05);                     // syscall
        code.Bytes(0x89, 0xC7);                     // mov edi, eax
        code.Bytes(0x44, 0x89, 0xC6);               // mov esi, r8d
        code.Bytes(0xB8, 0x3E, 0, 0, 0);            // mov eax, SYS_kill
        code.Bytes(0x0F, 0x05);                     // syscall
        code.Bytes(0xC3);                           // ret
        code.Bind(own);
        code.MoveImmediate(0x48, 0xB9, (ulong)tables->Fixups); // mov rcx, fixups
        code.Bind(fixupLoop);
        code.Bytes(0x4C, 0x8B, 0x01);               // mov r8, [rcx]
        code.Bytes(0x4D, 0x85, 0xC0);               // test r8, r8
        code.Jump(0x74, scan);                      // jz scan
        code.Bytes(0x49, 0x39, 0xC0);               // cmp r8, rax
        code.Jump(0x74, fixupHit);                  // je fixupHit
        code.Bytes(0x48, 0x83, 0xC1, 0x10);         // add rcx, 16
        code.Jump(0xEB, fixupLoop);                 // jmp fixupLoop
        code.Bind(scan);
        ScanRegions(code, regions, inRegion);
        code.Bind(chain);
        code.MoveImmediate(0x48, 0xB9, (ulong)tables->OldHandlers); // mov rcx, oldHandlers
        code.Bytes(0x89, 0xF8);                     // mov eax, edi
        code.Bytes(0x48, 0x8B, 0x04, 0xC1);         // mov rax, [rcx+rax*8]
        code.Bytes(0x48, 0x83, 0xF8, 0x01);         // cmp rax, 1
        code.Jump(0x76, setDefault);                // jbe setDefault
        code.Bytes(0xFF, 0xE0);                     // jmp rax
        code.Bind(setDefault);                      // no old handler: default action, then fault again
        code.Bytes(0xB8, 0x0D, 0, 0, 0);            // mov eax, SYS_rt_sigaction
        code.MoveImmediate(0x48, 0xBE, (ulong)(&tables->DefaultAction)); // mov rsi, defaultAction
        code.Bytes(0x31, 0xD2);                     // xor edx, edx
        code.Bytes(0x41, 0xBA, 0x08, 0, 0, 0);      // mov r10d, 8
        code.Bytes(0x0F, 0x05);                     // syscall
        code.Bytes(0xC3);                           // ret

        code.Bind(fixupHit);
        code.Bytes(0x48, 0x8B, 0x49, 0x08);         // mov rcx, [rcx+8]
        code.Bytes(0x48, 0x89, 0x8A, 0xA8, 0, 0, 0); // mov [rdx+168], rcx
        code.Bytes(0x89, 0xFF);                     // mov edi, edi
        code.Bytes(0x48, 0x89, 0x7A, 0x40);         // mov [rdx+64], rdi          r11 = signal
        code.Bytes(0xC3);                           // ret

        code.Bind(inRegion);                        // r8 = record
        LoadContext(code);                          // r9 = context
        code.Bytes(0x49, 0x63, 0x48, 0x14);         // movsxd rcx, [r8+20]
        code.Bytes(0x49, 0x89, 0x04, 0x09);         // mov [r9+rcx], rax          host pc
        code.Bytes(0x4C, 0x8B, 0x56, 0x10);         // mov r10, [rsi+16]          si_addr
        code.Bytes(0x49, 0x63, 0x48, 0x18);         // movsxd rcx, [r8+24]
        code.Bytes(0x4D, 0x89, 0x14, 0x09);         // mov [r9+rcx], r10
        code.Bytes(0x49, 0x63, 0x48, 0x1C);         // movsxd rcx, [r8+28]
        code.Bytes(0x41, 0x89, 0x3C, 0x09);         // mov [r9+rcx], edi
        code.Bytes(0x49, 0x8B, 0x40, 0x20);         // mov rax, [r8+32]
        code.Bytes(0x48, 0x89, 0x82, 0xA8, 0, 0, 0); // mov [rdx+168], rax
        code.Bytes(0xC3);                           // ret

        code.Align(16);
        KickHandler = code.Here;
        int kickRegions = code.NewLabel(), kickInRegion = code.NewLabel(), done = code.NewLabel();
        code.Bytes(0x48, 0x8B, 0x82, 0xA8, 0, 0, 0); // mov rax, [rdx+168]
        code.MoveImmediate(0x49, 0xB8, syscalls.InterruptibleCheck); // mov r8, check
        code.Bytes(0x48, 0x89, 0xC1);               // mov rcx, rax
        code.Bytes(0x4C, 0x29, 0xC1);               // sub rcx, r8
        code.Bytes(0x48, 0x83, 0xF9, SyscallStubs.InterruptibleSpan); // cmp rcx, span
        code.Jump(0x77, kickRegions);               // ja kickRegions
        code.MoveImmediate(0x49, 0xB8, syscalls.InterruptibleExit); // mov r8, exit
        code.Bytes(0x4C, 0x89, 0x82, 0xA8, 0, 0, 0); // mov [rdx+168], r8
        code.Bytes(0xC3);                           // ret
        code.Bind(kickRegions);
        ScanRegions(code, regions, kickInRegion);
        code.Bind(done);
        code.Bytes(0xC3);                           // ret
        code.Bind(kickInRegion);
        code.Bytes(0x4D, 0x8B, 0x50, 0x30);         // mov r10, [r8+48]
        code.Bytes(0x4D, 0x85, 0xD2);               // test r10, r10
        code.Jump(0x74, done);                      // jz done
        LoadContext(code);
        code.Bytes(0x49, 0x63, 0x48, 0x28);         // movsxd rcx, [r8+40]
        code.Bytes(0x49, 0x89, 0x04, 0x09);         // mov [r9+rcx], rax
        code.Bytes(0x4C, 0x89, 0x92, 0xA8, 0, 0, 0); // mov [rdx+168], r10
        code.Bytes(0xC3);                           // ret

        code.Align(16);
        SampleHandler = code.Here;
        int sampled = code.NewLabel();
        code.Bytes(0x83, 0x7E, 0x08, 0xFF);         // cmp dword [rsi+8], SI_QUEUE
        code.Jump(0x75, sampled);                   // jne sampled
        code.Bytes(0x48, 0x8B, 0x4E, 0x18);         // mov rcx, [rsi+24]          si_value
        code.Bytes(0x48, 0x85, 0xC9);               // test rcx, rcx
        code.Jump(0x74, sampled);                   // jz sampled
        code.Bytes(0x48, 0x8B, 0x82, 0xA8, 0, 0, 0); // mov rax, [rdx+168]
        code.Bytes(0x48, 0x89, 0x01);               // mov [rcx], rax
        code.Bind(sampled);
        code.Bytes(0xC3);                           // ret

        code.Align(16);
        Restorer = code.Here;
        code.Bytes(0x48, 0xC7, 0xC0, 0x0F, 0, 0, 0); // mov rax, SYS_rt_sigreturn
        code.Bytes(0x0F, 0x05);                     // syscall
    }

    /// <summary>Jumps to <paramref name="hit"/> with the record in r8 where rax lies in a region, falls through otherwise.</summary>
    private static void ScanRegions(StubWriter code, ulong regions, int hit)
    {
        int loop = code.NewLabel(), next = code.NewLabel();
        code.MoveImmediate(0x48, 0xB9, regions);    // mov rcx, regions
        code.Bytes(0x4C, 0x8D, 0x89, 0x00, 0x02, 0, 0); // lea r9, [rcx+64*8]
        code.Bind(loop);
        code.Bytes(0x4C, 0x8B, 0x01);               // mov r8, [rcx]
        code.Bytes(0x4D, 0x85, 0xC0);               // test r8, r8
        code.Jump(0x74, next);                      // jz next
        code.Bytes(0x49, 0x89, 0xC2);               // mov r10, rax
        code.Bytes(0x4D, 0x2B, 0x10);               // sub r10, [r8]
        code.Bytes(0x4D, 0x3B, 0x50, 0x08);         // cmp r10, [r8+8]
        code.Jump(0x72, hit);                       // jb hit
        code.Bind(next);
        code.Bytes(0x48, 0x83, 0xC1, 0x08);         // add rcx, 8
        code.Bytes(0x4C, 0x39, 0xC9);               // cmp rcx, r9
        code.Jump(0x72, loop);                      // jb loop
    }

    /// <summary>r9 = interrupted rbp - bias of the record in r8.</summary>
    private static void LoadContext(StubWriter code)
    {
        code.Bytes(0x49, 0x63, 0x48, 0x10);         // movsxd rcx, [r8+16]
        code.Bytes(0x4C, 0x8B, 0x4A, 0x78);         // mov r9, [rdx+120]
        code.Bytes(0x49, 0x29, 0xC9);               // sub r9, rcx
    }
}
