using System.Runtime.CompilerServices;

namespace Vivarium.Translation.X86;

// Labels, jumps, calls, and what serialises or stops.
public sealed unsafe partial class Assembler
{
    /// <summary>Places <paramref name="label"/> here and resolves the jumps that wait for it.</summary>
    /// <exception cref="InvalidOperationException">It is bound already, or a short jump cannot reach.</exception>
    public void Bind(ref Label label)
    {
        if (label.IsBound) throw new InvalidOperationException("a label can be bound only once");
        int here = Offset;
        label.Position = here + 1;
        if (Overflowed) return; // the chains are gone with the buffer's contents
        for (int field = label.Chain - 1; field >= 0;)
        {
            int* at = (int*)(_start + field);
            int next = *at - 1;
            *at = here - (field + 4);
            field = next;
        }
        for (int field = label.ShortChain - 1; field >= 0;)
        {
            int back = _start[field];
            int distance = here - (field + 1);
            if (distance > sbyte.MaxValue) throw new InvalidOperationException("a short jump does not reach its label");
            _start[field] = (byte)distance;
            field = back == 0 ? -1 : field - back;
        }
    }

    /// <summary>jmp; rel8 when the label is bound and near, else rel32.</summary>
    public void Jmp(ref Label label)
    {
        byte* p = Begin();
        if (label.IsBound && label.Offset - (int)(p - _start) - 2 >= sbyte.MinValue)
        {
            *p++ = 0xEB;
            *p = (byte)(label.Offset - (int)(p + 1 - _start));
            _p = p + 1;
            return;
        }
        *p++ = 0xE9;
        _p = p;
        Rel32(ref label);
    }

    /// <summary>jcc; rel8 when the label is bound and near, else rel32.</summary>
    public void Jcc(Cond condition, ref Label label)
    {
        byte* p = Begin();
        if (label.IsBound && label.Offset - (int)(p - _start) - 2 >= sbyte.MinValue)
        {
            *p++ = (byte)(0x70 | (int)condition);
            *p = (byte)(label.Offset - (int)(p + 1 - _start));
            _p = p + 1;
            return;
        }
        *p++ = 0x0F;
        *p++ = (byte)(0x80 | (int)condition);
        _p = p;
        Rel32(ref label);
    }

    /// <summary>jmp rel8 to a label that is, or will be, within 127 bytes.</summary>
    public void JmpShort(ref Label label) => Short(0xEB, ref label);

    /// <summary>jcc rel8 to a label that is, or will be, within 127 bytes.</summary>
    public void JccShort(Cond condition, ref Label label) => Short(0x70 | (int)condition, ref label);

    /// <summary>call rel32.</summary>
    public void Call(ref Label label)
    {
        byte* p = Begin();
        *p++ = 0xE8;
        _p = p;
        Rel32(ref label);
    }

    private void Short(int opcode, ref Label label)
    {
        byte* p = Begin();
        *p++ = (byte)opcode;
        int field = (int)(p - _start);
        if (label.IsBound)
        {
            int distance = label.Offset - (field + 1);
            if (distance < sbyte.MinValue && !Overflowed) throw new InvalidOperationException("a short jump does not reach its label");
            *p = (byte)distance;
        }
        else
        {
            int back = label.ShortChain == 0 ? 0 : field - (label.ShortChain - 1);
            if (back > byte.MaxValue) throw new InvalidOperationException("a short jump does not reach its label");
            *p = (byte)back;
            label.ShortChain = field + 1;
        }
        _p = p + 1;
    }

    private void Rel32(ref Label label)
    {
        int field = Offset;
        if (label.IsBound)
        {
            Int(label.Offset - (field + 4));
        }
        else
        {
            Int(label.Chain);
            label.Chain = field + 1;
        }
    }

    /// <summary>lea register, [rip + label].</summary>
    public void LeaRip(Gpr d, ref Label label)
    {
        byte* p = Begin();
        *p++ = (byte)(0x48 | (int)d >> 3 << 2);
        *p++ = 0x8D;
        *p++ = (byte)(((int)d & 7) << 3 | 5);
        _p = p;
        Rel32(ref label);
    }

    /// <summary>dec dword [rip + distance], of the word at a host address within 2 GiB of the code, which stands at its final place.</summary>
    public void Dec32At(ulong address)
    {
        byte* p = Begin();
        *p++ = 0xFF;
        *p++ = 0x0D;
        *(int*)p = (int)(address - (ulong)(p + 4));
        _p = p + 4;
    }

    /// <summary>A jmp rel32 whose displacement is an aligned 4-byte field that other threads may patch while it runs. It first goes to
    /// the offset <paramref name="target"/> (or, by default, to the next instruction). Returns the field's offset.</summary>
    public int JmpPatchable(int target = int.MinValue)
    {
        Nop(3 - Offset & 3);
        byte* p = Begin();
        *p++ = 0xE9;
        return PatchField(p, target);
    }

    /// <summary>As <see cref="JmpPatchable(int)"/>, conditional.</summary>
    public int JccPatchable(Cond condition, int target = int.MinValue)
    {
        Nop(2 - Offset & 3);
        byte* p = Begin();
        *p++ = 0x0F;
        *p++ = (byte)(0x80 | (int)condition);
        return PatchField(p, target);
    }

    /// <summary>As <see cref="JmpPatchable(int)"/>, first to a label.</summary>
    public int JmpPatchable(ref Label label)
    {
        int field = JmpPatchable();
        _p -= 4;
        Rel32(ref label);
        return field;
    }

    /// <summary>As <see cref="JccPatchable(Cond, int)"/>, first to a label.</summary>
    public int JccPatchable(Cond condition, ref Label label)
    {
        int field = JccPatchable(condition);
        _p -= 4;
        Rel32(ref label);
        return field;
    }

    private int PatchField(byte* p, int target)
    {
        int field = (int)(p - _start);
        *(int*)p = target == int.MinValue ? 0 : target - (field + 4);
        _p = p + 4;
        return field;
    }

    /// <summary>jmp rel32 to an offset relative to the buffer's start, which may lie outside the buffer (stubs elsewhere in the same
    /// code memory): the distance must fit once the code stands at its final place.</summary>
    public void JmpTo(long offset)
    {
        byte* p = Begin();
        *p++ = 0xE9;
        External(p, offset);
    }

    private int[] _external = new int[16];
    private int _externalCount;

    /// <summary>Offsets of the displacements that lead out of the buffer: what has to be corrected when the code moves.</summary>
    public ReadOnlySpan<int> Externals => new(_external, 0, _externalCount);

    private void External(byte* field, long offset)
    {
        *(int*)field = checked((int)(offset - (field + 4 - _start)));
        _p = field + 4;
        if (_externalCount == _external.Length) Array.Resize(ref _external, _externalCount * 2);
        _external[_externalCount++] = (int)(field - _start);
    }

    /// <summary>jcc rel32; see <see cref="JmpTo"/>.</summary>
    public void JccTo(Cond condition, long offset)
    {
        byte* p = Begin();
        *p++ = 0x0F;
        *p++ = (byte)(0x80 | (int)condition);
        External(p, offset);
    }

    /// <summary>call rel32; see <see cref="JmpTo"/>.</summary>
    public void CallTo(long offset)
    {
        byte* p = Begin();
        *p++ = 0xE8;
        External(p, offset);
    }

    public void Jmp(Gpr target) => Registers(0xFF, 0, 4, (int)target);
    public void Jmp(Mem target) => Memory(0xFF, 0, 4, target);
    public void Call(Gpr target) => Registers(0xFF, 0, 2, (int)target);
    public void Call(Mem target) => Memory(0xFF, 0, 2, target);

    public void Push(Gpr r) => Plain(0x50, (int)r, 0);
    public void Pop(Gpr r) => Plain(0x58, (int)r, 0);
    public void Push(Mem m) => Memory(0xFF, 0, 6, m);
    public void Pop(Mem m) => Memory(0x8F, 0, 0, m);

    public void Ret() => Raw([0xC3]);
    public void Ud2() => Raw([0x0F, 0x0B]);
    public void Int3() => Raw([0xCC]);
    public void Syscall() => Raw([0x0F, 0x05]);
    public void Rdtsc() => Raw([0x0F, 0x31]);
    public void Pause() => Raw([0xF3, 0x90]);
    public void Mfence() => Raw([0x0F, 0xAE, 0xF0]);
    public void Lfence() => Raw([0x0F, 0xAE, 0xE8]);
    public void Sfence() => Raw([0x0F, 0xAE, 0xF8]);

    public void Prefetcht0(Mem m) => Memory(0x18 | Map0F, 0, 1, m);
    public void Prefetchnta(Mem m) => Memory(0x18 | Map0F, 0, 0, m);
    public void Prefetchw(Mem m) => Memory(0x0D | Map0F, 0, 1, m);

    /// <summary>Loads MXCSR from four bytes.</summary>
    public void Ldmxcsr(Mem m) => Memory(0xAE | Map0F, 0, 2, m);

    /// <summary>Stores MXCSR to four bytes.</summary>
    public void Stmxcsr(Mem m) => Memory(0xAE | Map0F, 0, 3, m);

    /// <summary>An instruction with the register in the opcode's low bits.</summary>
    private void Plain(int opcode, int r, int w)
    {
        byte* p = Begin();
        int rex = w | r >> 3;
        if (rex != 0) *p++ = (byte)(0x40 | rex);
        *p++ = (byte)(opcode | r & 7);
        _p = p;
    }
}
