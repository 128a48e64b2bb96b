using System.Diagnostics;

namespace Vivarium.RiscV.Privileged;

// CSRs (Privileged Architecture, chapter "CSR Listing" and the chapters of the levels).
public sealed partial class PrivilegedUnit
{
    private const int CounterMask = 7; // cycle, time, instret

    private static readonly CsrTable Csrs = new(Rows);

    private ulong MenvcfgMask => Envcfg.Fiom | Envcfg.Cbie | Envcfg.Cbcfe | Envcfg.Cbze
        | (Features.Svadu ? Envcfg.Adue : 0) | (Features.Svpbmt ? Envcfg.Pbmte : 0) | (Features.Sstc ? Envcfg.Stce : 0);

    private const ulong SenvcfgMask = Envcfg.Fiom | Envcfg.Cbie | Envcfg.Cbcfe | Envcfg.Cbze;

    /// <summary>The table: who can read a CSR, and what writing does. What is not in it does not exist.</summary>
    private static void Rows(CsrTable t)
    {
        // Unprivileged: floating point and counters.
        t.Add(0x001, u => u._hart.State.Fflags, (u, v) => { u._hart.State.Fflags = (uint)v & 31; u.DirtyFloat(); }, u => u.FloatEnabled);
        t.Add(0x002, u => u._hart.State.Frm, (u, v) => { u._hart.State.Frm = (uint)v & 7; u.DirtyFloat(); }, u => u.FloatEnabled);
        t.Add(0x003, u => u._hart.State.Frm << 5 | u._hart.State.Fflags, (u, v) =>
        {
            (u._hart.State.Fflags, u._hart.State.Frm) = ((uint)v & 31, (uint)(v >> 5) & 7);
            u.DirtyFloat();
        }, u => u.FloatEnabled);
        t.Add(0xc00, u => u.Cycles, null, u => u.CounterEnabled(0));
        t.Add(0xc01, u => u._environment.Time, null, u => u.CounterEnabled(1));
        t.Add(0xc02, u => u.Retired, null, u => u.CounterEnabled(2));
        for (var i = 3; i < 32; i++)
        {
            var bit = i;
            t.Add(0xc00 + i, _ => 0, null, u => u.CounterEnabled(bit));
        }

        // Supervisor.
        t.Add(0x100, u => u.ReadMstatus() & Mstatus.SupervisorVisible, (u, v) => u.WriteMstatus(v, Mstatus.SupervisorWritable));
        t.Add(0x104, u => u._mie & u._mideleg, (u, v) => u.WriteMie((u._mie & ~u._mideleg) | ((uint)v & u._mideleg)));
        t.Add(0x105, u => u._stvec, (u, v) => u._stvec = Vector(v, u._stvec));
        t.Add(0x106, u => u._scounteren, (u, v) => { u._scounteren = (uint)v; u.EnvironmentChanged(); });
        t.Add(0x10a, u => u._senvcfg, (u, v) => { u._senvcfg = Cbie(v & SenvcfgMask, u._senvcfg); u.EnvironmentChanged(); });
        t.Add(0x140, u => u._sscratch, (u, v) => u._sscratch = v);
        t.Add(0x141, u => u._sepc, (u, v) => u._sepc = v & ~1UL);
        t.Add(0x142, u => u._scause, (u, v) => u._scause = v);
        t.Add(0x143, u => u._stval, (u, v) => u._stval = v);
        t.Add(0x144, u => u.Mip & u._mideleg, (_, _) => { });
        t.Add(0x14d, u => u._stimecmp, (u, v) => u.WriteStimecmp(v), u => u.StimecmpEnabled);
        t.Add(0x180, u => u._satp, (u, v) => u.WriteSatp(v), u => u.Mode == PrivilegeMode.Machine || (u._mstatus & Mstatus.Tvm) == 0);

        // Machine.
        t.Add(0xf11, _ => 0, null);
        t.Add(0xf12, _ => 0, null);
        t.Add(0xf13, _ => 0, null);
        t.Add(0xf14, u => (ulong)u.HartId, null);
        t.Add(0xf15, _ => 0, null);
        t.Add(0x300, u => u.ReadMstatus(), (u, v) => u.WriteMstatus(v, Mstatus.Writable));
        t.Add(0x301, u => u.Misa, (_, _) => { });
        t.Add(0x302, u => u._medeleg, (u, v) => u._medeleg = (uint)v & MedelegMask);
        t.Add(0x303, u => u._mideleg, (u, v) => { u._mideleg = (uint)v & Interrupts.Delegable; u.CheckInterrupts(); });
        t.Add(0x304, u => u._mie, (u, v) => u.WriteMie((uint)v));
        t.Add(0x305, u => u._mtvec, (u, v) => u._mtvec = Vector(v, u._mtvec));
        t.Add(0x306, u => u._mcounteren, (u, v) => { u._mcounteren = (uint)v; u.EnvironmentChanged(); });
        t.Add(0x30a, u => u._menvcfg, (u, v) => u.WriteMenvcfg(v));
        t.Add(0x320, u => u._mcountinhibit, (u, v) => u.WriteMcountinhibit(v));
        t.Add(0x340, u => u._mscratch, (u, v) => u._mscratch = v);
        t.Add(0x341, u => u._mepc, (u, v) => u._mepc = v & ~1UL);
        t.Add(0x342, u => u._mcause, (u, v) => u._mcause = v);
        t.Add(0x343, u => u._mtval, (u, v) => u._mtval = v);
        t.Add(0x344, u => u.Mip, (_, _) => { });
        t.Add(0xb00, u => u.Cycles, (u, v) => u._cycleOffset += v - u.Cycles);
        t.Add(0xb02, u => u.Retired, (u, v) => u._instretOffset += v - u.Retired);
        for (var i = 3; i < 32; i++)
        {
            t.Add(0xb00 + i, _ => 0, (_, _) => { });
            t.Add(0x320 + i, _ => 0, (_, _) => { });
        }
        for (var i = 0; i < 16; i += 2)
        {
            var first = i * 4; // on RV64 only the even ones exist
            t.Add(0x3a0 + i, u => u.Pmp.ReadConfiguration(first), (u, v) => { u.Pmp.WriteConfiguration(first, v); u.FlushTranslations(); },
                u => first < u.Pmp.Count);
        }
        for (var i = 0; i < 64; i++)
        {
            var index = i;
            t.Add(0x3b0 + i, u => u.Pmp.ReadAddress(index), (u, v) => { u.Pmp.WriteAddress(index, v); u.FlushTranslations(); },
                u => index < u.Pmp.Count);
        }
    }

    /// <summary>rd = csr; csr = (csr and keep) or set; false where the instruction is illegal.</summary>
    internal bool AccessCsr(int number, bool write, ulong keep, ulong set, out ulong old)
    {
        old = 0;
        var readOnly = number >> 10 == 3;
        var lowest = number >> 8 & 3;
        if ((write && readOnly) || (int)Mode < lowest) return false;
        if (Csrs.Of(number) is not { } row || (row.Exists is { } exists && !exists(this))) return false;
        old = row.Read(this);
        if (!write) return true;
        if (number is 0x344 or 0x144) WriteMip(keep, set, number == 0x144);
        else row.Write!(this, (old & keep) | set);
        return true;
    }

    /// <summary>Reads a CSR whatever the mode, for debuggers and saved state; 0 where there is none.</summary>
    public ulong ReadCsr(int number) => Csrs.Of(number)?.Read(this) ?? 0;

    /// <summary>Writes a CSR with its rules of what is legal, whatever the mode.</summary>
    public void WriteCsr(int number, ulong value)
    {
        if (number is 0x344 or 0x144) WriteMip(0, value, number == 0x144);
        else Csrs.Of(number)?.Write?.Invoke(this, value);
    }

    private ulong ReadMstatus() =>
        _mstatus | Mstatus.Lengths | ((_mstatus & Mstatus.Fs) == Mstatus.Fs ? Mstatus.Sd : 0);

    private void WriteMstatus(ulong value, ulong mask)
    {
        var old = _mstatus;
        var changed = (old & ~mask) | (value & mask);
        if ((changed & Mstatus.Mpp) == 2UL << Mstatus.MppShift) changed = (changed & ~Mstatus.Mpp) | (old & Mstatus.Mpp); // no H-mode
        _mstatus = changed;
        if (((old ^ changed) & Mstatus.Fs) != 0) FloatChanged();
        if (((old ^ changed) & Mstatus.Mxr) != 0) FlushTranslations();
        if (((old ^ changed) & Mstatus.Sum) != 0) _tlb.ForgetNear();
        if (((old ^ changed) & (Mstatus.Mprv | Mstatus.Mpp | Mstatus.Sum | Mstatus.Mxr)) != 0) ModeChanged();
        CheckInterrupts();
    }

    private void WriteMie(uint value)
    {
        _mie = value & Interrupts.All;
        CheckInterrupts();
    }

    /// <summary>Changes only the bits that the instruction names, so that what another thread sets meanwhile is not lost.</summary>
    private void WriteMip(ulong keep, ulong set, bool fromSupervisor)
    {
        var writable = fromSupervisor ? Interrupts.Ssip & _mideleg : Interrupts.Delegable;
        if ((_menvcfg & Envcfg.Stce) != 0) writable &= ~Interrupts.Stip; // then stimecmp alone drives it
        Interlocked.And(ref _latches, (uint)keep | ~writable);
        Interlocked.Or(ref _latches, (uint)set & writable);
        CheckInterrupts();
    }

    private void WriteMenvcfg(ulong value)
    {
        var old = _menvcfg;
        _menvcfg = Cbie(value & MenvcfgMask, old);
        EnvironmentChanged();
        if (((old ^ _menvcfg) & (Envcfg.Adue | Envcfg.Pbmte)) != 0) FlushTranslations();
        if (((old ^ _menvcfg) & Envcfg.Stce) != 0)
        {
            Interlocked.And(ref _latches, ~Interrupts.Stip);
            _environment.SetSupervisorTimer((_menvcfg & Envcfg.Stce) != 0 ? _stimecmp : ulong.MaxValue);
        }
    }

    /// <summary>CBIE 2 is reserved: the old value stays.</summary>
    private static ulong Cbie(ulong value, ulong old) => (value & Envcfg.Cbie) == 2 << 4 ? (value & ~Envcfg.Cbie) | (old & Envcfg.Cbie) : value;

    /// <summary>SBI's set_timer where there is no firmware: as if M-mode had written <c>stimecmp</c>.</summary>
    public void WriteStimecmp(ulong value)
    {
        _stimecmp = value;
        _environment.SetSupervisorTimer(value);
    }

    private bool StimecmpEnabled => Features.Sstc
        && (Mode == PrivilegeMode.Machine || ((_menvcfg & Envcfg.Stce) != 0 && (_mcounteren & 2) != 0));

    /// <summary>An unsupported mode makes the write have no effect at all.</summary>
    private void WriteSatp(ulong value)
    {
        var mode = (int)(value >> 60);
        if (mode != 0 && (mode < 8 || mode - 5 > Features.PageTableLevels)) return;
        var asid = value >> 44 & ((1UL << Features.AsidBits) - 1);
        var satp = (ulong)mode << 60 | asid << 44 | (value & PteNumberMask);
        if (satp == _satp) return;
        var old = _satp;
        _satp = satp;
        SwitchSpace(old);
    }

    private static ulong Vector(ulong value, ulong old) => (value & 3) <= 1 ? value & ~2UL : (value & ~3UL) | (old & 1);

    private ulong Misa
    {
        get
        {
            var misa = 2UL << 62 | Letter('S') | Letter('U');
            foreach (var (extension, letter) in MisaLetters)
            {
                if (Features.Extensions.Contains(extension)) misa |= Letter(letter);
            }
            return misa;
            static ulong Letter(char letter) => 1UL << (letter - 'A');
        }
    }

    private static readonly (Isa.Extension, char)[] MisaLetters =
    [
        (Isa.Extension.I, 'I'), (Isa.Extension.M, 'M'), (Isa.Extension.A, 'A'), (Isa.Extension.F, 'F'), (Isa.Extension.D, 'D'), (Isa.Extension.Zca, 'C'),
    ];

    private bool CounterEnabled(int bit) => Mode == PrivilegeMode.Machine
        || ((_mcounteren >> bit & 1) != 0 && (Mode == PrivilegeMode.Supervisor || (_scounteren >> bit & 1) != 0));

    /// <summary>A cycle is a nanosecond, as in user mode.</summary>
    // A counter is the host's less an offset; one that is stopped is the offset alone.
    private ulong RunningCycles => (_mcountinhibit & 1) != 0 ? 0 : (ulong)Stopwatch.GetTimestamp();

    private ulong RunningInstructions => (_mcountinhibit & 4) != 0 ? 0 : _hart.State.InstructionsRetired;

    private ulong Cycles => RunningCycles + _cycleOffset;

    private ulong Retired => RunningInstructions + _instretOffset;

    private void WriteMcountinhibit(ulong value)
    {
        var (cycles, instructions) = (Cycles, Retired);
        _mcountinhibit = value & 5;
        _cycleOffset = cycles - RunningCycles;
        _instretOffset = instructions - RunningInstructions;
    }
}
