using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Signals;

/// <summary>An alternate signal stack (<c>stack_t</c>).</summary>
[StructLayout(LayoutKind.Sequential)]
public record struct SignalStack(ulong Address, int Flags, int Padding, ulong Size)
{
    public const int SS_ONSTACK = 1, SS_DISABLE = 2;
    public const int SS_AUTODISARM = unchecked((int)0x80000000);

    public readonly bool Contains(ulong sp) => (Flags & SS_DISABLE) == 0 && sp > Address && sp - Address <= Size;
}

/// <summary>
/// The <c>rt_sigframe</c> of riscv64 (arch/riscv/kernel/signal.c, uapi/asm/{ucontext,sigcontext,ptrace}.h), byte for byte: handlers
/// of runtimes read and change it.
/// </summary>
public static class SignalFrame
{
    // struct rt_sigframe { siginfo_t info; struct ucontext uc; }
    public const int UContext = SigInfo.Size;

    // struct ucontext { flags, link, stack, sigmask, padding of 1024 bits in all, mcontext aligned to 16 }
    private const int UcStack = UContext + 16, UcSigmask = UContext + 40, Registers = UContext + 176;

    // struct sigcontext { pc, x1..x31; union { D state: f0..f31, fcsr; extension headers at the union's end } }
    private const int FloatRegisters = Registers + 256, Fcsr = FloatRegisters + 256;

    /// <summary>Bytes in all: a multiple of 16.</summary>
    public const int Size = Registers + 256 + 528;

    /// <summary>Writes a frame at <paramref name="address"/>; false where the stack is not writable.</summary>
    public static bool TryWrite(MemoryWindow window, ulong address, Hart hart, in SigInfo info, ulong mask, in SignalStack stack)
    {
        Span<byte> frame = stackalloc byte[Size];
        frame.Clear();
        MemoryMarshal.Write(frame, in info);
        MemoryMarshal.Write(frame[UcStack..], in stack);
        BinaryPrimitives.WriteUInt64LittleEndian(frame[UcSigmask..], mask);
        BinaryPrimitives.WriteUInt64LittleEndian(frame[Registers..], hart.Pc);
        ref var state = ref hart.State;
        for (int i = 1; i < 32; i++) BinaryPrimitives.WriteUInt64LittleEndian(frame[(Registers + 8 * i)..], hart[i]);
        for (int i = 0; i < 32; i++) BinaryPrimitives.WriteUInt64LittleEndian(frame[(FloatRegisters + 8 * i)..], GetFloat(ref state, i));
        BinaryPrimitives.WriteUInt32LittleEndian(frame[Fcsr..], state.Fflags & 31 | (state.Frm & 7) << 5);
        return window.TryWriteBytes(address, frame);
    }

    /// <summary>Restores registers from a frame; false where it cannot be read or is not one of ours.</summary>
    public static bool TryRestore(MemoryWindow window, ulong address, Hart hart, out ulong mask, out SignalStack stack)
    {
        Span<byte> frame = stackalloc byte[Size];
        mask = 0;
        stack = default;
        if (address % 16 != 0 || !window.TryReadBytes(address, frame)) return false;
        // The reserved word and the END header behind the FP state are zero: no vector state, nothing else either.
        if (frame[(FloatRegisters + 516)..].ContainsAnyExcept((byte)0)) return false;
        mask = BinaryPrimitives.ReadUInt64LittleEndian(frame[UcSigmask..]);
        stack = MemoryMarshal.Read<SignalStack>(frame[UcStack..]);
        hart.Pc = BinaryPrimitives.ReadUInt64LittleEndian(frame[Registers..]);
        ref var state = ref hart.State;
        for (int i = 1; i < 32; i++) hart[i] = BinaryPrimitives.ReadUInt64LittleEndian(frame[(Registers + 8 * i)..]);
        for (int i = 0; i < 32; i++) SetFloat(ref state, i, BinaryPrimitives.ReadUInt64LittleEndian(frame[(FloatRegisters + 8 * i)..]));
        uint fcsr = BinaryPrimitives.ReadUInt32LittleEndian(frame[Fcsr..]);
        state.Fflags = fcsr & 31;
        state.Frm = fcsr >> 5 & 7;
        return true;
    }

    /// <summary>A new program's floating-point state.</summary>
    internal static void ClearFloats(ref HartState state)
    {
        for (int i = 0; i < 32; i++) SetFloat(ref state, i, 0);
        state.Fflags = 0;
        state.Frm = 0;
    }

    // SAFETY: the index is 0..31, within the fixed buffer.
    internal static unsafe ulong GetFloat(ref HartState state, int index) => state.F[index & 31];

    // SAFETY: as above.
    internal static unsafe void SetFloat(ref HartState state, int index, ulong value) => state.F[index & 31] = value;
}
