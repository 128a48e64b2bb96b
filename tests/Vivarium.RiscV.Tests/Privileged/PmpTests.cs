using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;
using static Vivarium.RiscV.Tests.Privileged.PrivilegedGuest;
using static Vivarium.Testing.Encoder;

namespace Vivarium.RiscV.Tests.Privileged;

/// <summary>Physical memory protection through loads, stores and fetches of all modes.</summary>
public sealed class PmpTests : IDisposable
{
    private const int Cfg = 0x3a0, Address = 0x3b0;
    private readonly PrivilegedGuest _guest = new();

    public void Dispose() => _guest.Dispose();

    private bool Allowed(Opcode opcode, ulong address)
    {
        _guest.Hart[6] = address;
        var exit = _guest.Execute(Encode(opcode, rd: 5, rs1: 6, rs2: 0));
        if (exit is null) return true;
        Assert.Equal(opcode is Opcode.Sb or Opcode.Sd ? TrapCause.StoreAccessFault : TrapCause.LoadAccessFault, exit.Value.Cause);
        Assert.Equal(address, exit.Value.Value);
        return false;
    }

    /// <summary>Random entries over the data page, against a model that goes byte by byte.</summary>
    [Fact]
    public void TheFirstMatchingEntryDecides()
    {
        var random = new Random(7);
        for (var round = 0; round < 600; round++)
        {
            using var guest = new PrivilegedGuest();
            // Entry 0 keeps the code executable; 1..6 are random ranges around the data page; the last lets the rest through, or not.
            var entries = new List<(ulong Low, ulong High, int Rights, bool Locked)> { (Code, Code + 0xfff, 7, false) };
            guest[Address] = (Code | 0x7ff) >> 2;
            ulong configuration = 0x1f;
            ulong previous = (Code | 0x7ff) >> 2;
            for (var i = 1; i < 7; i++)
            {
                var mode = random.Next(4);
                var rights = random.Next(8);
                if ((rights & 3) == 2) rights &= ~2;
                var locked = random.Next(4) == 0;
                var at = Data - 0x40 + (ulong)random.Next(0x80) * 4;
                var napot = random.Next(6);
                var value = at >> 2;
                if (mode == 3) value = (value | (1UL << napot) - 1) & ~(1UL << napot); // trailing ones, and a zero
                guest[Address + i] = value;
                configuration |= (ulong)(rights | mode << 3 | (locked ? 0x80 : 0)) << (8 * i);
                if (mode == 1 && value > previous) entries.Add((previous << 2, (value << 2) - 1, rights, locked));
                if (mode == 2) entries.Add((value << 2, (value << 2) + 3, rights, locked));
                if (mode == 3) entries.Add(((value & ~((1UL << napot) - 1)) << 2, ((value | 1UL << napot) << 2 | 3), rights, locked));
                previous = value;
            }
            guest[Cfg] = configuration;
            foreach (var mode in new[] { PrivilegeMode.User, PrivilegeMode.Supervisor, PrivilegeMode.Machine })
            {
                guest.Enter(mode);
                for (var trial = 0; trial < 20; trial++)
                {
                    var store = random.Next(2) == 1;
                    var wide = random.Next(2) == 1;
                    var address = Data - 0x40 + (ulong)random.Next(0x200);
                    if (wide) address &= ~7UL;
                    var last = address + (wide ? 7UL : 0);
                    var expected = mode == PrivilegeMode.Machine;
                    foreach (var (low, high, rights, locked) in entries)
                    {
                        if (last < low || address > high) continue;
                        expected = address >= low && last <= high
                            && ((rights >> (store ? 1 : 0) & 1) != 0 || (mode == PrivilegeMode.Machine && !locked));
                        break;
                    }
                    guest.Hart[6] = address;
                    var exit = guest.Execute(Encode(store ? wide ? Opcode.Sd : Opcode.Sb : wide ? Opcode.Ld : Opcode.Lb, rd: 5, rs1: 6));
                    if (expected != exit is null) Assert.Fail($"round {round} {mode} {(store ? "store" : "load")} {address:x}..{last:x}: {exit}, cfg {configuration:x}");
                    if (exit is { } trap) Assert.Equal((store ? TrapCause.StoreAccessFault : TrapCause.LoadAccessFault, address), (trap.Cause, trap.Value));
                }
            }
        }
    }

    [Fact]
    public void LockedEntriesStay()
    {
        _guest[Address + 1] = Data >> 2;
        _guest[Address + 2] = (Data >> 2) + 4;
        _guest[Cfg] = 0x89_00_1f; // entry 2: locked, TOR, R
        _guest[Address + 2] = 0;
        _guest[Address + 1] = 0; // its base is locked too
        _guest[Cfg] = 0x1f;
        Assert.Equal((Data >> 2) + 4, _guest[Address + 2]);
        Assert.Equal(Data >> 2, _guest[Address + 1]);
        Assert.Equal(0x89_00_1fUL, _guest[Cfg]);
        _guest[Cfg] = 0; // so that entry 0 does not match first
        Assert.True(Allowed(Opcode.Lb, Data));
        Assert.False(Allowed(Opcode.Sb, Data)); // M-mode obeys locked entries
        Assert.True(Allowed(Opcode.Sb, Data + 16));
    }

    [Fact]
    public void WithoutAMatchOnlyMachineModeMayAccess()
    {
        _guest[Cfg] = 0;
        Assert.True(Allowed(Opcode.Ld, Data));
        _guest[Address] = (Code | 0x7ff) >> 2;
        _guest[Cfg] = 0x1f;
        _guest.Enter(PrivilegeMode.Supervisor);
        Assert.False(Allowed(Opcode.Ld, Data));
        _guest.Enter(PrivilegeMode.Machine);
        _guest[Cfg] = 0x1b; // no X
        _guest.Enter(PrivilegeMode.Machine);
        _guest[Mstatus] = 1 << 11;
        _guest[Mepc] = Code + 8;
        Assert.Null(_guest.Execute(Encode(Opcode.Mret)));
        Assert.Equal(TrapCause.InstructionAccessFault, _guest.Interpreter.Step(_guest.Hart)!.Value.Cause);
    }

    [Fact]
    public void PageWalksAreSupervisorAccesses()
    {
        _guest.UsePaging(3);
        _guest.Map(3, 0x1_0000, Code, V | R | X | A | D);
        _guest.Map(3, 0x2_0000, Data, V | R | W | A);
        _guest[Menvcfg] = 1UL << 61;
        // Tables may be read, not written: hardware cannot set D.
        _guest[Address] = (Root | 0x7fff) >> 2;
        _guest[Address + 1] = ulong.MaxValue;
        _guest[Cfg] = 0x1f_19;
        _guest.Enter(PrivilegeMode.Supervisor);
        _guest.Hart[6] = 0x2_0000;
        Assert.Null(_guest.Execute(Encode(Opcode.Lb, rd: 5, rs1: 6), 0x1_0000));
        Assert.Equal(TrapCause.StoreAccessFault, _guest.Execute(Encode(Opcode.Sb, rs1: 6), 0x1_0000)!.Value.Cause);
        _guest[Cfg] = 0x1f_18;
        Assert.Equal(TrapCause.InstructionAccessFault, _guest.Execute(Encode(Opcode.Lb, rd: 5, rs1: 6), 0x1_0000)!.Value.Cause);
    }
}
