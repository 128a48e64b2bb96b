using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;
using static Vivarium.RiscV.Tests.Privileged.PrivilegedGuest;
using static Vivarium.Testing.Encoder;

namespace Vivarium.RiscV.Tests.Privileged;

/// <summary>Trap entry and return, delegation, interrupts and what is legal in which mode.</summary>
public sealed class TrapTests : IDisposable
{
    private const ulong InterruptBit = 1UL << 63;
    private static readonly PrivilegeMode[] Modes = [PrivilegeMode.User, PrivilegeMode.Supervisor, PrivilegeMode.Machine];
    private readonly PrivilegedGuest _guest = new();

    public void Dispose() => _guest.Dispose();

    public static TheoryData<TrapCause> Causes => new(Enum.GetValues<TrapCause>());

    /// <summary>Each cause from each mode, delegated and not, lands where it should with all of mstatus right.</summary>
    [Theory]
    [MemberData(nameof(Causes))]
    public void TrapsGoWhereTheyAreDelegated(TrapCause cause)
    {
        foreach (var mode in Modes)
        {
            var number = (int)cause + (cause == TrapCause.EnvironmentCall ? (int)mode : 0);
            foreach (var delegated in new[] { false, true })
            {
                foreach (var enabled in new[] { false, true })
                {
                    _guest[Medeleg] = delegated ? 1UL << number : ~(1UL << number);
                    _guest[Mtvec] = Ram + 0x4001; // vectored: exceptions go to the base all the same
                    _guest[Stvec] = Ram + 0x5001;
                    _guest.Enter(mode);
                    var bits = 1UL << 1 | 1UL << 3;
                    _guest[Mstatus] = enabled ? _guest[Mstatus] | bits : _guest[Mstatus] & ~bits;
                    _guest.Hart.Pc = Ram + 0x2222;
                    _guest.Unit.EnterTrap(cause, 0x1234);

                    var toSupervisor = delegated && mode != PrivilegeMode.Machine && number != 11;
                    Assert.Equal(toSupervisor ? PrivilegeMode.Supervisor : PrivilegeMode.Machine, _guest.Unit.Mode);
                    Assert.Equal(toSupervisor ? Ram + 0x5000 : Ram + 0x4000, _guest.Hart.Pc);
                    Assert.Equal((ulong)number, _guest[toSupervisor ? Scause : Mcause]);
                    Assert.Equal(Ram + 0x2222, _guest[toSupervisor ? Sepc : Mepc]);
                    Assert.Equal(0x1234UL, _guest[toSupervisor ? Stval : Mtval]);
                    var status = _guest[Mstatus];
                    var (ie, pie) = toSupervisor ? (1, 5) : (3, 7);
                    Assert.Equal(0UL, status >> ie & 1);
                    Assert.Equal(enabled ? 1UL : 0, status >> pie & 1);
                    Assert.Equal((ulong)mode, toSupervisor ? status >> 8 & 1 : status >> 11 & 3);
                }
            }
        }
    }

    /// <summary>All pending, enabled and delegated sets, modes and global enables, against the manual's rules.</summary>
    [Fact]
    public void InterruptsGoByPriorityAndDelegation()
    {
        int[] priority = [11, 3, 7, 9, 1, 5];
        var random = new Random(5);
        for (var round = 0; round < 20_000; round++)
        {
            var mode = Modes[random.Next(3)];
            ulong Set() => (ulong)random.Next(1 << 12) & 0xaaa;
            var (pending, enabled, delegated) = (Set(), Set(), Set() & 0x222);
            var (sie, mie) = (random.Next(2) == 1, random.Next(2) == 1);
            foreach (var cause in priority) _guest.Unit.SetWire(cause, false);
            _guest[Mie] = 0;
            _guest.Enter(mode);
            _guest[Mideleg] = delegated;
            _guest[Mstatus] = (_guest[Mstatus] & ~10UL) | (sie ? 2UL : 0) | (mie ? 8UL : 0);
            foreach (var cause in priority) _guest.Unit.SetWire(cause, (pending >> cause & 1) != 0);
            _guest.Hart.State.ExitRequest = 0;
            _guest[Mie] = enabled;

            Assert.Equal(pending, _guest[Mip]);
            Assert.Equal(pending & delegated, _guest[Sip]);
            Assert.Equal(enabled & delegated, _guest[Sie]);
            Assert.Equal((pending & enabled) != 0, _guest.Unit.HasPendingInterrupt);
            int? expected = null;
            var toSupervisor = false;
            foreach (var machine in new[] { true, false })
            {
                var open = machine ? mode != PrivilegeMode.Machine || mie : mode == PrivilegeMode.User || (mode == PrivilegeMode.Supervisor && sie);
                if (expected is not null || !open) continue;
                foreach (var cause in priority)
                {
                    if ((pending & enabled & (machine ? ~delegated : delegated) >> 0 & 1UL << cause) == 0) continue;
                    (expected, toSupervisor) = (cause, !machine);
                    break;
                }
            }
            Assert.Equal(expected is not null, _guest.Hart.State.ExitRequest != 0); // running code would be left
            Assert.Equal(expected is not null, _guest.Unit.TakeInterrupt());
            if (expected is { } taken) Assert.Equal(InterruptBit | (uint)taken, _guest[toSupervisor ? Scause : Mcause]);
        }
    }

    [Fact]
    public void VectoredInterruptsGoToTheirEntry()
    {
        _guest[Mtvec] = Ram + 0x4001;
        _guest[Mie] = 1 << 7;
        _guest[Mstatus] = 8;
        _guest.Unit.SetWire(7, true);
        Assert.True(_guest.Unit.TakeInterrupt());
        Assert.Equal(Ram + 0x4000 + 28, _guest.Hart.Pc);
    }

    [Fact]
    public void SoftwareSetsAndClearsOnlyItsInterruptBits()
    {
        _guest[Mip] = ulong.MaxValue;
        Assert.Equal(0x222UL, _guest[Mip]);
        _guest.Unit.SetWire(9, true); // SEIP is what software wrote or what the controller drives
        _guest[Mip] = 0;
        Assert.Equal(0x200UL, _guest[Mip]);
        _guest.Unit.SetWire(9, false);
        _guest[Mideleg] = 0x222;
        _guest[Sip] = ulong.MaxValue;
        Assert.Equal(2UL, _guest[Mip]);
        // An IPI that comes between reading and writing back is not lost: csrrs names other bits only.
        _guest[Mip] = 0;
        _guest.Unit.SetWire(1, true);
        Assert.Null(_guest.Execute(Encode(Opcode.Csrrsi, rd: 5, rs1: 0, imm: Mip)));
        _guest.Hart[6] = 0x200;
        Assert.Null(_guest.Execute(Encode(Opcode.Csrrs, rd: 5, rs1: 6, imm: Mip)));
        Assert.Equal(0x202UL, _guest[Mip]);
        Assert.Null(_guest.Execute(Encode(Opcode.Csrrci, rd: 5, rs1: 2, imm: Sip)));
        Assert.Equal(0x200UL, _guest[Mip]);
    }

    [Fact]
    public void ReturnsRestoreModeAndEnables()
    {
        foreach (var mode in Modes)
        {
            _guest.Enter(PrivilegeMode.Machine);
            _guest[Mstatus] = Mprv | (ulong)mode << 11 | 1 << 7;
            _guest[Mepc] = Ram + 0x101; // bit 0 does not exist
            Assert.Null(_guest.Execute(Encode(Opcode.Mret)));
            Assert.Equal((mode, Ram + 0x100), (_guest.Unit.Mode, _guest.Hart.Pc));
            Assert.Equal(mode == PrivilegeMode.Machine ? Mprv | 0x88 : 0x88, _guest[Mstatus] & (Mprv | 0x1888));
        }
        foreach (var mode in Modes[..2])
        {
            _guest.Enter(PrivilegeMode.Machine);
            _guest[Mstatus] = Mprv | (mode == PrivilegeMode.Supervisor ? 1UL << 8 : 0) | 1 << 5;
            _guest[Sepc] = Ram + 0x200;
            Assert.Null(_guest.Execute(Encode(Opcode.Sret)));
            Assert.Equal((mode, Ram + 0x200), (_guest.Unit.Mode, _guest.Hart.Pc));
            Assert.Equal(0x22UL, _guest[Mstatus] & (Mprv | 0x122));
        }
    }

    /// <summary>The instructions of the Privileged Architecture by mode and by what traps them.</summary>
    [Theory]
    [InlineData(Opcode.Mret, PrivilegeMode.Machine, 0UL), InlineData(Opcode.Sret, PrivilegeMode.Supervisor, Tsr), InlineData(Opcode.Wfi, PrivilegeMode.Supervisor, Tw)]
    [InlineData(Opcode.SfenceVma, PrivilegeMode.Supervisor, Tvm), InlineData(Opcode.SinvalVma, PrivilegeMode.Supervisor, Tvm)]
    [InlineData(Opcode.SfenceWInval, PrivilegeMode.Supervisor, 0UL), InlineData(Opcode.SfenceInvalIr, PrivilegeMode.Supervisor, 0UL)]
    public void InstructionsNeedTheirMode(Opcode opcode, PrivilegeMode lowest, ulong trapBit)
    {
        foreach (var mode in Modes)
        {
            foreach (var trapped in new[] { false, true })
            {
                _guest[Mstatus] = trapped ? trapBit : 0;
                _guest.Enter(mode);
                var legal = mode >= lowest && !(trapped && trapBit != 0 && mode == PrivilegeMode.Supervisor);
                var exit = _guest.Execute(Encode(opcode));
                if (legal) Assert.Null(exit);
                else Assert.Equal((TrapCause.IllegalInstruction, (ulong)Encode(opcode)), (exit!.Value.Cause, exit.Value.Value));
                _guest.Unit.WaitsForInterrupt = false;
            }
        }
    }

    /// <summary>Every CSR number from every mode: the mode and read-only bits of the number hold, and what exists does so from its mode up.</summary>
    [Fact]
    public void CsrNumbersSayWhoMayAccessThem()
    {
        foreach (var mode in Modes)
        {
            for (var number = 0; number < 4096; number++)
            {
                _guest[Mcounteren] = _guest[Scounteren] = ulong.MaxValue;
                _guest[Menvcfg] = 1UL << 63;
                _guest[Satp] = 0;
                _guest.OpenPmp();
                _guest[Mstatus] = Fs;
                _guest.Enter(PrivilegeMode.Machine);
                var exists = _guest.Execute(Encode(Opcode.Csrrs, rd: 5, imm: number)) is null;
                _guest.Enter(mode);
                Assert.Equal(exists && (int)mode >= (number >> 8 & 3), _guest.Execute(Encode(Opcode.Csrrs, rd: 5, imm: number)) is null);
                if (number >> 10 == 3) Assert.NotNull(_guest.Execute(Encode(Opcode.Csrrs, rd: 5, rs1: 6, imm: number)));
            }
        }
    }

    /// <summary>What is legal of each field after all ones and all zeroes are written.</summary>
    [Theory]
    [InlineData(Mstatus, 0x8000_000a_007e_79aaUL, 0xa_0000_0000UL), InlineData(Sstatus, 0x8000_0002_000c_6122UL, 0x2_0000_0000UL)]
    [InlineData(Medeleg, 0xb3ffUL, 0UL), InlineData(Mideleg, 0x222UL, 0UL), InlineData(Mie, 0xaaaUL, 0UL)]
    [InlineData(Mcounteren, 0xffff_ffffUL, 0UL), InlineData(Menvcfg, 0xe000_0000_0000_00f1UL, 0UL), InlineData(Senvcfg, 0xf1UL, 0UL)]
    [InlineData(Mepc, ulong.MaxValue - 1, 0UL), InlineData(Mcause, ulong.MaxValue, 0UL), InlineData(Mtval, ulong.MaxValue, 0UL), InlineData(0x320, 5UL, 0UL)]
    public void FieldsHoldWhatIsLegal(int csr, ulong ones, ulong zeroes)
    {
        _guest[csr] = 0;
        _guest[csr] = ulong.MaxValue;
        Assert.Equal(ones, _guest[csr]);
        _guest[csr] = 0;
        Assert.Equal(zeroes, _guest[csr]);
    }

    [Fact]
    public void ReservedVectorModesAndMppKeepTheOldOne()
    {
        _guest[Stvec] = 0x1001;
        _guest[Stvec] = 0x2002;
        Assert.Equal(0x2001UL, _guest[Stvec]);
        _guest[Mstatus] = 1 << 11;
        _guest[Mstatus] = 2 << 11;
        Assert.Equal(1UL << 11, _guest[Mstatus] & 3 << 11);
        Assert.Equal(3UL, _guest[0xf14]);
        Assert.Equal(2UL << 62 | 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 8 | 1 << 12 | 1 << 18 | 1 << 20, _guest[0x301]);
    }

    [Fact]
    public void FloatInstructionsNeedFsAndDirtyIt()
    {
        uint[] all = [Encode(Opcode.FaddD, rd: 1, rs1: 2, rs2: 3), Encode(Opcode.Fld, rd: 1, rs1: 6), Encode(Opcode.Fsd, rs1: 6, rs2: 1),
            Encode(Opcode.FmvXD, rd: 5, rs1: 1), Encode(Opcode.Csrrs, rd: 5, imm: 1), Encode(Opcode.Csrrw, rd: 5, imm: 2), Encode(Opcode.Csrrs, rd: 5, imm: 3)];
        _guest.Hart[6] = Data;
        foreach (var bits in all)
        {
            _guest[Mstatus] = 0;
            Assert.Equal(TrapCause.IllegalInstruction, _guest.Execute(bits)!.Value.Cause);
            _guest[Mstatus] = 1 << 13;
            Assert.Null(_guest.Execute(bits));
            Assert.Equal(_guest[Mstatus] >> 63, (_guest[Mstatus] & Fs) == Fs ? 1UL : 0);
        }
        foreach (var bits in new[] { all[0], all[1], all[5] })
        {
            _guest[Mstatus] = 1 << 13;
            Assert.Null(_guest.Execute(bits));
            Assert.Equal(Fs, _guest[Mstatus] & Fs);
        }
        _guest[Mstatus] = 1 << 13;
        Assert.Null(_guest.Execute(all[2])); // a store changes nothing
        Assert.Equal(1UL << 13, _guest[Mstatus] & Fs);
    }

    [Fact]
    public void CountersNeedTheirEnableBits()
    {
        for (var settings = 0UL; settings < 4; settings++)
        {
            for (var counter = 0; counter < 32; counter++)
            {
                foreach (var mode in Modes)
                {
                    _guest[Mcounteren] = (settings & 1) << counter;
                    _guest[Scounteren] = (settings >> 1) << counter;
                    _guest.Enter(mode);
                    var legal = mode == PrivilegeMode.Machine || ((settings & 1) != 0 && (mode == PrivilegeMode.Supervisor || (settings & 2) != 0));
                    Assert.Equal(legal, _guest.Execute(Encode(Opcode.Csrrs, rd: 5, imm: 0xc00 + counter)) is null);
                }
            }
        }
    }

    [Fact]
    public void StimecmpNeedsItsEnables()
    {
        var read = Encode(Opcode.Csrrs, rd: 5, imm: Stimecmp);
        foreach (var (enable, counter, legal) in new[] { (0UL, 2UL, false), (1UL << 63, 0UL, false), (1UL << 63, 2UL, true) })
        {
            _guest[Menvcfg] = enable;
            _guest[Mcounteren] = counter;
            _guest.Enter(PrivilegeMode.Supervisor);
            Assert.Equal(legal, _guest.Execute(read) is null);
        }
        _guest.Hart[6] = 77;
        Assert.Null(_guest.Execute(Encode(Opcode.Csrrw, rs1: 6, imm: Stimecmp)));
        Assert.Equal(77UL, _guest.TimerCompare);
        _guest.Enter(PrivilegeMode.Machine);
        _guest[Menvcfg] = 0;
        Assert.Equal(ulong.MaxValue, _guest.TimerCompare); // STIP is software's again
    }

    [Fact]
    public void SatpTrapsUnderTvm()
    {
        _guest[Mstatus] = Tvm;
        _guest.Enter(PrivilegeMode.Supervisor);
        Assert.NotNull(_guest.Execute(Encode(Opcode.Csrrs, rd: 5, imm: Satp)));
        _guest.Enter(PrivilegeMode.Machine);
        Assert.Null(_guest.Execute(Encode(Opcode.Csrrs, rd: 5, imm: Satp)));
    }

    [Fact]
    public void ExtensionsThatAreNotExposedAreIllegal()
    {
        using var minimal = new PrivilegedGuest(HartFeatures.Minimal);
        foreach (var opcode in new[] { Opcode.Sh1add, Opcode.Clz, Opcode.CzeroEqz, Opcode.AmocasD, Opcode.CboZero, Opcode.SinvalVma, Opcode.FliD })
            Assert.Equal(TrapCause.IllegalInstruction, minimal.Execute(Encode(opcode, rd: 5, rs1: 6))!.Value.Cause);
        Assert.Null(minimal.Execute(Encode(Opcode.Mul, rd: 5, rs1: 6)));
        Assert.NotNull(minimal.Execute(Encode(Opcode.Csrrs, rd: 5, imm: Stimecmp)));
        minimal[Menvcfg] = ulong.MaxValue;
        Assert.Equal(0xf1UL, minimal[Menvcfg]);
    }

    [Fact]
    public void CacheBlockInstructionsNeedTheirEnables()
    {
        _guest.Hart[6] = Data;
        foreach (var (opcode, bit) in new[] { (Opcode.CboZero, 1UL << 7), (Opcode.CboClean, 1UL << 6), (Opcode.CboFlush, 1UL << 6), (Opcode.CboInval, 1UL << 4) })
        {
            for (var settings = 0; settings < 4; settings++)
            {
                _guest[Menvcfg] = (settings & 1) != 0 ? bit : 0;
                _guest[Senvcfg] = (settings & 2) != 0 ? bit : 0;
                foreach (var mode in Modes)
                {
                    _guest.Enter(mode);
                    var legal = mode == PrivilegeMode.Machine || ((settings & 1) != 0 && (mode == PrivilegeMode.Supervisor || (settings & 2) != 0));
                    Assert.Equal(legal, _guest.Execute(Encode(opcode, rs1: 6)) is null);
                }
            }
        }
    }
}
