using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>
/// The A extension and Zacas. Everything is sequentially consistent, so the aq and rl bits need nothing more. All of it must
/// be naturally aligned, and traps otherwise, also where a misaligned load or store would work.
/// </summary>
/// <remarks>
/// A store-conditional succeeds if its address is the reserved one, no other atomic instruction has stored there since (see
/// <see cref="Reservations"/>), and memory still holds, atomically with the store, the value that the load-reserved read. Plain stores
/// that change the value and change it back are not seen; they cost nothing for it.
/// </remarks>
internal static unsafe class Atomics
{
    public static void AddTo(SemanticsTable t)
    {
        t[Opcode.LrW] = &LrW;
        t[Opcode.LrD] = &LrD;
        t[Opcode.ScW] = &ScW;
        t[Opcode.ScD] = &ScD;
        for (var op = Opcode.AmoswapW; op <= Opcode.AmomaxuW; op++) t[op] = &AmoW;
        for (var op = Opcode.AmoswapD; op <= Opcode.AmomaxuD; op++) t[op] = &AmoD;
        t[Opcode.AmocasW] = &AmocasW;
        t[Opcode.AmocasD] = &AmocasD;
        t[Opcode.AmocasQ] = &AmocasQ;
    }

    private const ulong NoReservation = ulong.MaxValue;

    /// <summary>The effective address of an AMO or SC, which is aligned or traps.</summary>
    private static bool Aligned(ref Core c, in Instruction i, uint size, out ulong address)
    {
        address = c.X(i.Rs1);
        return (address & (size - 1)) == 0 || c.Trap(TrapCause.StoreAddressMisaligned, address);
    }

    private static bool LrW(ref Core c, in Instruction i)
    {
        var address = c.X(i.Rs1);
        if ((address & 3) != 0) return c.Trap(TrapCause.LoadAddressMisaligned, address);
        var version = Reservations.Watch(ref c.State, address);
        return c.Load32(address, out var v) && Reserve(ref c, address, (ulong)(int)v, version) && c.SetW(i.Rd, v);
    }

    private static bool LrD(ref Core c, in Instruction i)
    {
        var address = c.X(i.Rs1);
        if ((address & 7) != 0) return c.Trap(TrapCause.LoadAddressMisaligned, address);
        var version = Reservations.Watch(ref c.State, address);
        return c.Load64(address, out var v) && Reserve(ref c, address, v, version) && c.SetX(i.Rd, v);
    }

    private static bool Reserve(ref Core c, ulong address, ulong value, ulong version)
    {
        c.State.ReservationVersion = version;
        c.State.ReservationAddress = address;
        c.State.ReservationValue = value;
        return true;
    }

    // Store-conditional writes 0 to rd for success and 1 for failure, and either way ends the reservation.

    private static bool ScW(ref Core c, in Instruction i)
    {
        if (!Aligned(ref c, i, sizeof(uint), out var address)) return false;
        var success = false;
        if (address == c.State.ReservationAddress && Reservations.TryLock(ref c.State, address))
        {
            var expected = (uint)c.State.ReservationValue;
            var stored = c.CompareExchange32(address, expected, (uint)c.X(i.Rs2), out var observed);
            success = stored && observed == expected;
            Reservations.Unlock(ref c.State, address, success);
            if (!stored) return false;
        }
        c.State.ReservationAddress = NoReservation;
        return c.SetX(i.Rd, !success);
    }

    private static bool ScD(ref Core c, in Instruction i)
    {
        if (!Aligned(ref c, i, sizeof(ulong), out var address)) return false;
        var success = false;
        if (address == c.State.ReservationAddress && Reservations.TryLock(ref c.State, address))
        {
            var expected = c.State.ReservationValue;
            var stored = c.CompareExchange64(address, expected, c.X(i.Rs2), out var observed);
            success = stored && observed == expected;
            Reservations.Unlock(ref c.State, address, success);
            if (!stored) return false;
        }
        c.State.ReservationAddress = NoReservation;
        return c.SetX(i.Rd, !success);
    }

    // Read-modify-write, as a compare-and-exchange that is tried until nobody came between. The first guess, 0, need not be right.

    private static bool AmoW(ref Core c, in Instruction i)
    {
        if (!Aligned(ref c, i, sizeof(uint), out var address)) return false;
        var operand = (uint)c.X(i.Rs2);
        uint old = 0;
        var locked = Reservations.LockWatched(ref c.State, address);
        while (true)
        {
            var (a, b) = (old, operand);
            var result = i.Opcode switch
            {
                Opcode.AmoswapW => b,
                Opcode.AmoaddW => a + b,
                Opcode.AmoxorW => a ^ b,
                Opcode.AmoandW => a & b,
                Opcode.AmoorW => a | b,
                Opcode.AmominW => (uint)Math.Min((int)a, (int)b),
                Opcode.AmomaxW => (uint)Math.Max((int)a, (int)b),
                Opcode.AmominuW => Math.Min(a, b),
                _ => Math.Max(a, b),
            };
            var done = c.CompareExchange32(address, old, result, out var observed);
            if (done && observed != old)
            {
                old = observed;
                continue;
            }
            if (locked) Reservations.Unlock(ref c.State, address, done);
            return done && c.SetW(i.Rd, old);
        }
    }

    private static bool AmoD(ref Core c, in Instruction i)
    {
        if (!Aligned(ref c, i, sizeof(ulong), out var address)) return false;
        var operand = c.X(i.Rs2);
        ulong old = 0;
        var locked = Reservations.LockWatched(ref c.State, address);
        while (true)
        {
            var (a, b) = (old, operand);
            var result = i.Opcode switch
            {
                Opcode.AmoswapD => b,
                Opcode.AmoaddD => a + b,
                Opcode.AmoxorD => a ^ b,
                Opcode.AmoandD => a & b,
                Opcode.AmoorD => a | b,
                Opcode.AmominD => (ulong)Math.Min((long)a, (long)b),
                Opcode.AmomaxD => (ulong)Math.Max((long)a, (long)b),
                Opcode.AmominuD => Math.Min(a, b),
                _ => Math.Max(a, b),
            };
            var done = c.CompareExchange64(address, old, result, out var observed);
            if (done && observed != old)
            {
                old = observed;
                continue;
            }
            if (locked) Reservations.Unlock(ref c.State, address, done);
            return done && c.SetX(i.Rd, old);
        }
    }

    // Zacas: rd holds the expected value and receives the observed one.

    private static bool AmocasW(ref Core c, in Instruction i)
    {
        if (!Aligned(ref c, i, sizeof(uint), out var address)) return false;
        var expected = (uint)c.X(i.Rd);
        var locked = Reservations.LockWatched(ref c.State, address);
        var done = c.CompareExchange32(address, expected, (uint)c.X(i.Rs2), out var observed);
        if (locked) Reservations.Unlock(ref c.State, address, done && observed == expected);
        return done && c.SetW(i.Rd, observed);
    }

    private static bool AmocasD(ref Core c, in Instruction i)
    {
        if (!Aligned(ref c, i, sizeof(ulong), out var address)) return false;
        var expected = c.X(i.Rd);
        var locked = Reservations.LockWatched(ref c.State, address);
        var done = c.CompareExchange64(address, expected, c.X(i.Rs2), out var observed);
        if (locked) Reservations.Unlock(ref c.State, address, done && observed == expected);
        return done && c.SetX(i.Rd, observed);
    }

    /// <summary>On register pairs, which start at an even register; the pair of x0 reads zero and drops what is written.</summary>
    private static bool AmocasQ(ref Core c, in Instruction i)
    {
        if (((i.Rd | i.Rs2) & 1) != 0) return c.Illegal(i);
        if (!Aligned(ref c, i, 16, out var address)) return false;
        var expected = Pair(ref c, i.Rd);
        var low = Reservations.LockWatched(ref c.State, address);
        var high = Reservations.LockWatched(ref c.State, address + 8);
        var done = c.CompareExchange128(address, expected, Pair(ref c, i.Rs2), out var observed);
        if (low) Reservations.Unlock(ref c.State, address, done && observed == expected);
        if (high) Reservations.Unlock(ref c.State, address + 8, done && observed == expected);
        if (!done) return false;
        if (i.Rd == 0) return true;
        return c.SetX(i.Rd, (ulong)observed) && c.SetX(i.Rd + 1, (ulong)(observed >> 64));
    }

    private static UInt128 Pair(ref Core c, int even) => even == 0 ? UInt128.Zero : new UInt128(c.X(even + 1), c.X(even));
}
