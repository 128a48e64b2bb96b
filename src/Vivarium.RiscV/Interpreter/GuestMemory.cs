using System.Runtime.CompilerServices;
using Vivarium.Host;
using Vivarium.RiscV.Privileged;

namespace Vivarium.RiscV.Interpreter;

/// <summary>
/// How the interpreter reaches memory. In process mode a guest address is an offset in the hart's window, and an access returns 0 or the host
/// signal of the fault. A machine's hart goes through its <see cref="PrivilegedUnit"/>, and a negative result means that the unit knows the trap.
/// </summary>
internal readonly struct GuestMemory(MemoryWindow window, PrivilegedUnit? unit)
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load8(ulong address, out byte value) =>
        unit is null ? window.Load8(address, out value) : unit.Load8(address, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load16(ulong address, out ushort value) =>
        unit is null ? window.Load16(address, out value) : unit.Load16(address, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load32(ulong address, out uint value) =>
        unit is null ? window.Load32(address, out value) : unit.Load32(address, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load64(ulong address, out ulong value) =>
        unit is null ? window.Load64(address, out value) : unit.Load64(address, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store8(ulong address, byte value) =>
        unit is null ? window.Store8(address, value) : unit.Store8(address, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store16(ulong address, ushort value) =>
        unit is null ? window.Store16(address, value) : unit.Store16(address, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store32(ulong address, uint value) =>
        unit is null ? window.Store32(address, value) : unit.Store32(address, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store64(ulong address, ulong value) =>
        unit is null ? window.Store64(address, value) : unit.Store64(address, value);

    public int CompareExchange32(ulong address, uint expected, uint desired, out uint observed) =>
        unit is null ? window.CompareExchange32(address, expected, desired, out observed) : unit.CompareExchange32(address, expected, desired, out observed);

    public int CompareExchange64(ulong address, ulong expected, ulong desired, out ulong observed) =>
        unit is null ? window.CompareExchange64(address, expected, desired, out observed) : unit.CompareExchange64(address, expected, desired, out observed);

    public int CompareExchange128(ulong address, UInt128 expected, UInt128 desired, out UInt128 observed) =>
        unit is null ? window.CompareExchange128(address, expected, desired, out observed) : unit.CompareExchange128(address, expected, desired, out observed);

    /// <summary>Asks for write access to the byte without changing it.</summary>
    public int ProbeStore(ulong address) => window.CompareExchange32(address & ~3UL, 0, 0, out _);
}
