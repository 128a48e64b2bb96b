using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>Zicsr and the CSRs of user mode: <c>fflags</c>, <c>frm</c>, <c>fcsr</c>, and Zicntr's counters.</summary>
internal static unsafe class ControlStatus
{
    /// <summary>What <c>time</c> counts: ticks per second of the host's monotonic clock. Linux tells guests this number
    /// (riscv_hwprobe, device tree).</summary>
    public const ulong TimeFrequency = ClockRegisters.TimeFrequency;

    private const int Fflags = 0x001, Frm = 0x002, Fcsr = 0x003, Cycle = 0xc00, Time = 0xc01, Instret = 0xc02;

    public static void AddTo(SemanticsTable t)
    {
        t[Opcode.Csrrw] = &Csrrw;
        t[Opcode.Csrrs] = &Csrrs;
        t[Opcode.Csrrc] = &Csrrc;
        t[Opcode.Csrrwi] = &Csrrwi;
        t[Opcode.Csrrsi] = &Csrrsi;
        t[Opcode.Csrrci] = &Csrrci;
    }

    // Setting or clearing bits with x0 or zero writes nothing, and so is allowed on read-only CSRs (manual, Zicsr).

    private static bool Csrrw(ref Core c, in Instruction i) => Access(ref c, i, write: true, keep: 0, set: c.X(i.Rs1));

    private static bool Csrrs(ref Core c, in Instruction i) => Access(ref c, i, write: i.Rs1 != 0, keep: ~0UL, set: c.X(i.Rs1));

    private static bool Csrrc(ref Core c, in Instruction i) => Access(ref c, i, write: i.Rs1 != 0, keep: ~c.X(i.Rs1), set: 0);

    private static bool Csrrwi(ref Core c, in Instruction i) => Access(ref c, i, write: true, keep: 0, set: i.Rs1);

    private static bool Csrrsi(ref Core c, in Instruction i) => Access(ref c, i, write: i.Rs1 != 0, keep: ~0UL, set: i.Rs1);

    private static bool Csrrci(ref Core c, in Instruction i) => Access(ref c, i, write: i.Rs1 != 0, keep: ~(ulong)i.Rs1, set: 0);

    /// <summary>rd = csr; csr = (csr and keep) or set.</summary>
    private static bool Access(ref Core c, in Instruction i, bool write, ulong keep, ulong set)
    {
        var number = i.Imm & 0xfff;
        if (c.Unit is { } unit) return unit.AccessCsr(number, write, keep, set, out var value) ? c.SetX(i.Rd, value) : c.Illegal(i);
        var readOnly = number >> 10 == 3; // the top two bits of the number say so
        if ((write && readOnly) || !TryRead(ref c, number, out var old)) return c.Illegal(i);
        if (write) Write(ref c, number, (old & keep) | set);
        return c.SetX(i.Rd, old);
    }

    private static bool TryRead(ref Core c, int number, out ulong value)
    {
        switch (number)
        {
            case Fflags:
                value = c.State.Fflags;
                return true;
            case Frm:
                value = c.State.Frm;
                return true;
            case Fcsr:
                value = (c.State.Frm << 5) | c.State.Fflags;
                return true;
            // A cycle is a nanosecond, so that programs that divide cycles by time get a plausible 1 GHz on every executor.
            case Cycle:
                value = Nanoseconds();
                return true;
            case Time:
                value = Nanoseconds() / (1_000_000_000 / TimeFrequency);
                return true;
            case Instret:
                value = c.State.InstructionsRetired;
                return true;
            case >= ClockRegisters.First and <= ClockRegisters.Last:
                value = HostClock.Nanoseconds(number - ClockRegisters.First);
                return true;
            default:
                value = 0;
                return false;
        }
    }

    private static void Write(ref Core c, int number, ulong value)
    {
        switch (number)
        {
            case Fflags:
                c.State.Fflags = (uint)value & 31;
                break;
            case Frm:
                c.State.Frm = (uint)value & 7; // reserved modes may be written; what uses them is illegal
                break;
            case Fcsr:
                c.State.Fflags = (uint)value & 31;
                c.State.Frm = (uint)(value >> 5) & 7;
                break;
        }
    }

    private static ulong Nanoseconds() => HostClock.Nanoseconds(ClockRegisters.Monotonic);
}
