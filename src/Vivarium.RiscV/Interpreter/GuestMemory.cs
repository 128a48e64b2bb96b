using System.Runtime.CompilerServices;
using Vivarium.Host;

namespace Vivarium.RiscV.Interpreter;

/// <summary>
/// How the interpreter reaches memory. Today a guest address is an offset in the hart's window; a machine with an MMU would translate
/// here, and nothing else in the interpreter would change. Every access returns 0, or the host signal of the fault.
/// </summary>
internal readonly struct GuestMemory(MemoryWindow window)
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load8(ulong address, out byte value) => window.Load8(address, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load16(ulong address, out ushort value) => window.Load16(address, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load32(ulong address, out uint value) => window.Load32(address, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Load64(ulong address, out ulong value) => window.Load64(address, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store8(ulong address, byte value) => window.Store8(address, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store16(ulong address, ushort value) => window.Store16(address, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store32(ulong address, uint value) => window.Store32(address, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Store64(ulong address, ulong value) => window.Store64(address, value);

    public int CompareExchange32(ulong address, uint expected, uint desired, out uint observed) =>
        window.CompareExchange32(address, expected, desired, out observed);

    public int CompareExchange64(ulong address, ulong expected, ulong desired, out ulong observed) =>
        window.CompareExchange64(address, expected, desired, out observed);

    public int CompareExchange128(ulong address, UInt128 expected, UInt128 desired, out UInt128 observed) =>
        window.CompareExchange128(address, expected, desired, out observed);

    /// <summary>Asks for write access to the byte without changing it.</summary>
    public int ProbeStore(ulong address) => window.CompareExchange32(address & ~3UL, 0, 0, out _);
}
