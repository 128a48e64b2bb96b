namespace Vivarium.Host;

/// <summary>Emitted loads, stores, compare-and-exchanges and copies that survive a fault: the signal handler sends them to a fix-up
/// with the signal number in r11, and they return it. Every one is a leaf that keeps callee-saved registers and pushes nothing.</summary>
internal readonly unsafe struct CopyStubs
{
    /// <summary>A value in rax and the signal number of the fault (0: none) in rdx.</summary>
    internal readonly struct Result
    {
        public readonly ulong Value;
        public readonly ulong Signal;
    }

    public readonly delegate* unmanaged[SuppressGCTransition]<ulong, Result> Load8, Load16, Load32, Load64;
    public readonly delegate* unmanaged[SuppressGCTransition]<ulong, ulong, int> Store8, Store16, Store32, Store64;
    public readonly delegate* unmanaged[SuppressGCTransition]<ulong, ulong, ulong, Result> CompareExchange32, CompareExchange64;

    /// <summary>(address, expected low, expected high, desired low, desired high, out 16 bytes observed).</summary>
    public readonly delegate* unmanaged[SuppressGCTransition]<ulong, ulong, ulong, ulong, ulong, ulong*, int> CompareExchange128;

    /// <summary>(to, from, bytes): the bytes copied and the signal that stopped it. Also callable GC-preemptively.</summary>
    public readonly delegate* unmanaged[SuppressGCTransition]<ulong, ulong, ulong, Result> Copy;

    /// <summary>(to, bytes): the bytes zeroed and the signal that stopped it. Also callable GC-preemptively.</summary>
    public readonly delegate* unmanaged[SuppressGCTransition]<ulong, ulong, Result> Clear;

    public CopyStubs(StubWriter code, SignalTables* tables)
    {
        var fixups = new List<(ulong Pc, ulong Target)>();

        // Shared fix-ups. r11d = signal number.
        code.Align(16);
        var fixValue = code.Here;
        code.Bytes(0x31, 0xC0);                     // xor eax, eax
        code.Bytes(0x44, 0x89, 0xDA);               // mov edx, r11d
        code.Bytes(0xC3);                           // ret
        var fixStatus = code.Here;
        code.Bytes(0x44, 0x89, 0xD8);               // mov eax, r11d
        code.Bytes(0xC3);                           // ret
        var fixStatusRbx = code.Here;
        code.Bytes(0x4C, 0x89, 0xD3);               // mov rbx, r10
        code.Bytes(0x44, 0x89, 0xD8);               // mov eax, r11d
        code.Bytes(0xC3);                           // ret
        var fixCopy = code.Here;                    // rdx = asked, rcx = left: rep leaves rcx exact at a fault
        code.Bytes(0x48, 0x89, 0xD0);               // mov rax, rdx
        code.Bytes(0x48, 0x29, 0xC8);               // sub rax, rcx
        code.Bytes(0x44, 0x89, 0xDA);               // mov edx, r11d
        code.Bytes(0xC3);                           // ret

        ulong Load(params ReadOnlySpan<byte> access)
        {
            code.Align(16);
            var entry = code.Here;
            fixups.Add((entry, fixValue));
            code.Bytes(access);
            code.Bytes(0x31, 0xD2);                 // xor edx, edx
            code.Bytes(0xC3);                       // ret
            return entry;
        }

        ulong Store(params ReadOnlySpan<byte> access)
        {
            code.Align(16);
            var entry = code.Here;
            fixups.Add((entry, fixStatus));
            code.Bytes(access);
            code.Bytes(0x31, 0xC0);                 // xor eax, eax
            code.Bytes(0xC3);                       // ret
            return entry;
        }

        Load8 = (delegate* unmanaged[SuppressGCTransition]<ulong, Result>)Load(0x0F, 0xB6, 0x07);   // movzx eax, byte [rdi]
        Load16 = (delegate* unmanaged[SuppressGCTransition]<ulong, Result>)Load(0x0F, 0xB7, 0x07);  // movzx eax, word [rdi]
        Load32 = (delegate* unmanaged[SuppressGCTransition]<ulong, Result>)Load(0x8B, 0x07);        // mov eax, [rdi]
        Load64 = (delegate* unmanaged[SuppressGCTransition]<ulong, Result>)Load(0x48, 0x8B, 0x07);  // mov rax, [rdi]
        Store8 = (delegate* unmanaged[SuppressGCTransition]<ulong, ulong, int>)Store(0x40, 0x88, 0x37);  // mov [rdi], sil
        Store16 = (delegate* unmanaged[SuppressGCTransition]<ulong, ulong, int>)Store(0x66, 0x89, 0x37); // mov [rdi], si
        Store32 = (delegate* unmanaged[SuppressGCTransition]<ulong, ulong, int>)Store(0x89, 0x37);       // mov [rdi], esi
        Store64 = (delegate* unmanaged[SuppressGCTransition]<ulong, ulong, int>)Store(0x48, 0x89, 0x37); // mov [rdi], rsi

        code.Align(16);
        CompareExchange32 = (delegate* unmanaged[SuppressGCTransition]<ulong, ulong, ulong, Result>)code.Here;
        code.Bytes(0x89, 0xF0);                     // mov eax, esi
        fixups.Add((code.Here, fixValue));
        code.Bytes(0xF0, 0x0F, 0xB1, 0x17);         // lock cmpxchg [rdi], edx
        code.Bytes(0x31, 0xD2);                     // xor edx, edx
        code.Bytes(0xC3);                           // ret

        code.Align(16);
        CompareExchange64 = (delegate* unmanaged[SuppressGCTransition]<ulong, ulong, ulong, Result>)code.Here;
        code.Bytes(0x48, 0x89, 0xF0);               // mov rax, rsi
        fixups.Add((code.Here, fixValue));
        code.Bytes(0xF0, 0x48, 0x0F, 0xB1, 0x17);   // lock cmpxchg [rdi], rdx
        code.Bytes(0x31, 0xD2);                     // xor edx, edx
        code.Bytes(0xC3);                           // ret

        code.Align(16);
        CompareExchange128 = (delegate* unmanaged[SuppressGCTransition]<ulong, ulong, ulong, ulong, ulong, ulong*, int>)code.Here;
        code.Bytes(0x49, 0x89, 0xDA);               // mov r10, rbx
        code.Bytes(0x48, 0x89, 0xF0);               // mov rax, rsi      (rdx holds the high half already)
        code.Bytes(0x48, 0x89, 0xCB);               // mov rbx, rcx
        code.Bytes(0x4C, 0x89, 0xC1);               // mov rcx, r8
        fixups.Add((code.Here, fixStatusRbx));
        code.Bytes(0xF0, 0x48, 0x0F, 0xC7, 0x0F);   // lock cmpxchg16b [rdi]
        code.Bytes(0x49, 0x89, 0x01);               // mov [r9], rax
        code.Bytes(0x49, 0x89, 0x51, 0x08);         // mov [r9+8], rdx
        code.Bytes(0x4C, 0x89, 0xD3);               // mov rbx, r10
        code.Bytes(0x31, 0xC0);                     // xor eax, eax
        code.Bytes(0xC3);                           // ret

        // Any length: rep movsb, which stops at the exact byte.
        code.Align(16);
        var anyLength = code.NewLabel();
        code.Bind(anyLength);
        var copyAnyLength = code.Here;
        code.Bytes(0x48, 0x89, 0xD1);               // mov rcx, rdx
        fixups.Add((code.Here, fixCopy));
        code.Bytes(0xF3, 0xA4);                     // rep movsb
        code.Bytes(0x48, 0x89, 0xD0);               // mov rax, rdx
        code.Bytes(0x31, 0xD2);                     // xor edx, edx
        code.Bytes(0xC3);                           // ret

        // 4..64 bytes, which rep takes long to start for: two or four overlapping accesses. A fault goes back to the way that counts
        // exactly; the stores go upwards, so nothing beyond the faulting byte has been written by then.
        void Try(params ReadOnlySpan<byte> access)
        {
            fixups.Add((code.Here, copyAnyLength));
            code.Bytes(access);
        }

        void CopyDone()
        {
            code.Bytes(0x48, 0x89, 0xD0);           // mov rax, rdx
            code.Bytes(0x31, 0xD2);                 // xor edx, edx
            code.Bytes(0xC3);                       // ret
        }

        code.Align(16);
        int four = code.NewLabel(), eight = code.NewLabel(), sixteen = code.NewLabel();
        Copy = (delegate* unmanaged[SuppressGCTransition]<ulong, ulong, ulong, Result>)code.Here;
        code.Bytes(0x48, 0x8D, 0x42, 0xFC);         // lea rax, [rdx-4]
        code.Bytes(0x48, 0x83, 0xF8, 0x3C);         // cmp rax, 60
        code.Jump(0x77, anyLength);                 // ja anyLength
        code.Bytes(0x83, 0xFA, 0x08);               // cmp edx, 8
        code.Jump(0x72, four);                      // jb four
        code.Bytes(0x83, 0xFA, 0x10);               // cmp edx, 16
        code.Jump(0x76, eight);                     // jbe eight
        code.Bytes(0x83, 0xFA, 0x20);               // cmp edx, 32
        code.Jump(0x76, sixteen);                   // jbe sixteen
        Try(0xF3, 0x0F, 0x6F, 0x06);                // movdqu xmm0, [rsi]
        Try(0xF3, 0x0F, 0x6F, 0x4E, 0x10);          // movdqu xmm1, [rsi+16]
        Try(0xF3, 0x0F, 0x6F, 0x54, 0x16, 0xE0);    // movdqu xmm2, [rsi+rdx-32]
        Try(0xF3, 0x0F, 0x6F, 0x5C, 0x16, 0xF0);    // movdqu xmm3, [rsi+rdx-16]
        Try(0xF3, 0x0F, 0x7F, 0x07);                // movdqu [rdi], xmm0
        Try(0xF3, 0x0F, 0x7F, 0x4F, 0x10);          // movdqu [rdi+16], xmm1
        Try(0xF3, 0x0F, 0x7F, 0x54, 0x17, 0xE0);    // movdqu [rdi+rdx-32], xmm2
        Try(0xF3, 0x0F, 0x7F, 0x5C, 0x17, 0xF0);    // movdqu [rdi+rdx-16], xmm3
        CopyDone();
        code.Bind(four);
        Try(0x8B, 0x06);                            // mov eax, [rsi]
        Try(0x8B, 0x4C, 0x16, 0xFC);                // mov ecx, [rsi+rdx-4]
        Try(0x89, 0x07);                            // mov [rdi], eax
        Try(0x89, 0x4C, 0x17, 0xFC);                // mov [rdi+rdx-4], ecx
        CopyDone();
        code.Bind(eight);
        Try(0x48, 0x8B, 0x06);                      // mov rax, [rsi]
        Try(0x48, 0x8B, 0x4C, 0x16, 0xF8);          // mov rcx, [rsi+rdx-8]
        Try(0x48, 0x89, 0x07);                      // mov [rdi], rax
        Try(0x48, 0x89, 0x4C, 0x17, 0xF8);          // mov [rdi+rdx-8], rcx
        CopyDone();
        code.Bind(sixteen);
        Try(0xF3, 0x0F, 0x6F, 0x06);                // movdqu xmm0, [rsi]
        Try(0xF3, 0x0F, 0x6F, 0x4C, 0x16, 0xF0);    // movdqu xmm1, [rsi+rdx-16]
        Try(0xF3, 0x0F, 0x7F, 0x07);                // movdqu [rdi], xmm0
        Try(0xF3, 0x0F, 0x7F, 0x4C, 0x17, 0xF0);    // movdqu [rdi+rdx-16], xmm1
        CopyDone();

        code.Align(16);
        Clear = (delegate* unmanaged[SuppressGCTransition]<ulong, ulong, Result>)code.Here;
        code.Bytes(0x48, 0x89, 0xF1);               // mov rcx, rsi
        code.Bytes(0x48, 0x89, 0xF2);               // mov rdx, rsi
        code.Bytes(0x31, 0xC0);                     // xor eax, eax
        fixups.Add((code.Here, fixCopy));
        code.Bytes(0xF3, 0xAA);                     // rep stosb
        code.Bytes(0x48, 0x89, 0xD0);               // mov rax, rdx
        code.Bytes(0x31, 0xD2);                     // xor edx, edx
        code.Bytes(0xC3);                           // ret

        if (fixups.Count > SignalTables.MaxFixups) throw new InvalidOperationException("fix-up table is full");
        for (var i = 0; i < fixups.Count; i++)
            (tables->Fixups[2 * i], tables->Fixups[2 * i + 1]) = fixups[i];
    }
}
