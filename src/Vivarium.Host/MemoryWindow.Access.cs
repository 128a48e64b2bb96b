using System.Runtime.CompilerServices;
using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

// Single loads, stores and compare-and-exchanges. Offsets are any 64-bit number: outside the window is a fault like any other. An access
// that starts inside and ends outside runs into the guard. SAFETY (all of this file): the stubs touch only [base+offset, +16), which is
// window or guard, and turn a fault into a status.
public sealed unsafe partial class MemoryWindow
{
    /// <summary>Loads; returns 0, or the host signal of the fault (SIGSEGV 11, SIGBUS 7) with <paramref name="value"/> 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load8(ulong offset, out byte value)
    {
        if (offset >= _size) { value = 0; return SigSegv; }
        var result = _stubs.Load8(_base + offset);
        value = (byte)result.Value;
        return (int)result.Signal;
    }

    /// <inheritdoc cref="Load8"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load16(ulong offset, out ushort value)
    {
        if (offset >= _size) { value = 0; return SigSegv; }
        var result = _stubs.Load16(_base + offset);
        value = (ushort)result.Value;
        return (int)result.Signal;
    }

    /// <inheritdoc cref="Load8"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load32(ulong offset, out uint value)
    {
        if (offset >= _size) { value = 0; return SigSegv; }
        var result = _stubs.Load32(_base + offset);
        value = (uint)result.Value;
        return (int)result.Signal;
    }

    /// <inheritdoc cref="Load8"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load64(ulong offset, out ulong value)
    {
        if (offset >= _size) { value = 0; return SigSegv; }
        var result = _stubs.Load64(_base + offset);
        value = result.Value;
        return (int)result.Signal;
    }

    /// <summary>Stores; returns 0, or the host signal of the fault (SIGSEGV 11, SIGBUS 7).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store8(ulong offset, byte value) => offset >= _size ? SigSegv : _stubs.Store8(_base + offset, value);

    /// <inheritdoc cref="Store8"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store16(ulong offset, ushort value) => offset >= _size ? SigSegv : _stubs.Store16(_base + offset, value);

    /// <inheritdoc cref="Store8"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store32(ulong offset, uint value) => offset >= _size ? SigSegv : _stubs.Store32(_base + offset, value);

    /// <inheritdoc cref="Store8"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store64(ulong offset, ulong value) => offset >= _size ? SigSegv : _stubs.Store64(_base + offset, value);

    /// <summary>Sequentially consistent compare-and-exchange; returns 0, or the host signal of the fault. Like the instruction
    /// behind it, it needs write access even where the comparison fails.</summary>
    public int CompareExchange32(ulong offset, uint expected, uint desired, out uint observed)
    {
        if (offset >= _size) { observed = 0; return SigSegv; }
        var result = _stubs.CompareExchange32(_base + offset, expected, desired);
        observed = (uint)result.Value;
        return (int)result.Signal;
    }

    /// <inheritdoc cref="CompareExchange32"/>
    public int CompareExchange64(ulong offset, ulong expected, ulong desired, out ulong observed)
    {
        if (offset >= _size) { observed = 0; return SigSegv; }
        var result = _stubs.CompareExchange64(_base + offset, expected, desired);
        observed = result.Value;
        return (int)result.Signal;
    }

    /// <summary>As <see cref="CompareExchange32"/>; the offset must be a multiple of 16 (otherwise SIGSEGV).</summary>
    public int CompareExchange128(ulong offset, UInt128 expected, UInt128 desired, out UInt128 observed)
    {
        observed = default;
        if (offset >= _size) return SigSegv;
        var old = stackalloc ulong[2];
        var signal = _stubs.CompareExchange128(_base + offset, (ulong)expected, (ulong)(expected >> 64), (ulong)desired, (ulong)(desired >> 64), old);
        if (signal == 0) observed = new UInt128(old[1], old[0]);
        return signal;
    }

    public bool TryLoad8(ulong offset, out byte value) => Load8(offset, out value) == 0;
    public bool TryLoad16(ulong offset, out ushort value) => Load16(offset, out value) == 0;
    public bool TryLoad32(ulong offset, out uint value) => Load32(offset, out value) == 0;
    public bool TryLoad64(ulong offset, out ulong value) => Load64(offset, out value) == 0;
    public bool TryStore8(ulong offset, byte value) => Store8(offset, value) == 0;
    public bool TryStore16(ulong offset, ushort value) => Store16(offset, value) == 0;
    public bool TryStore32(ulong offset, uint value) => Store32(offset, value) == 0;
    public bool TryStore64(ulong offset, ulong value) => Store64(offset, value) == 0;

    /// <summary>Sequentially consistent compare-and-exchange; <paramref name="observed"/> is the old value. The offset must be
    /// naturally aligned (the caller checks; misaligned split locks still work but are slow).</summary>
    public bool TryCompareExchange32(ulong offset, uint expected, uint desired, out uint observed) =>
        CompareExchange32(offset, expected, desired, out observed) == 0;

    /// <inheritdoc cref="TryCompareExchange32"/>
    public bool TryCompareExchange64(ulong offset, ulong expected, ulong desired, out ulong observed) =>
        CompareExchange64(offset, expected, desired, out observed) == 0;

    /// <inheritdoc cref="CompareExchange128"/>
    public bool TryCompareExchange128(ulong offset, UInt128 expected, UInt128 desired, out UInt128 observed) =>
        CompareExchange128(offset, expected, desired, out observed) == 0;
}
