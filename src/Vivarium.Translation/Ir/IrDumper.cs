using System.Globalization;
using System.Text;

namespace Vivarium.Translation.Ir;

/// <summary>Prints a block's IR for people, one operation per line under its guest address.</summary>
public static class IrDumper
{
    public static string Dump(IrBlock block)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"superblock 0x{block.Start:x} ({block.GuestCount} instructions{(block.IsLoop ? ", loop" : "")})\n");
        int guest = -1;
        for (int i = 0; i < block.Count; i++)
        {
            ref readonly IrOp op = ref block.Ops[i];
            if (op.Guest != guest)
            {
                guest = op.Guest;
                text.Append(CultureInfo.InvariantCulture, $"  0x{block.GuestPc[guest]:x}: {Vivarium.RiscV.Isa.Decoder.Decode(block.Guest[guest]).Opcode}\n");
            }
            if ((op.Flags & IrFlags.Check) != 0) text.Append("      check ").Append(Register(op.A)).Append('\n');
            text.Append((op.Flags & IrFlags.Deferred) != 0 ? "      deferred: " : "      ").Append(Line(op)).Append('\n');
        }
        return text.ToString();
    }

    /// <summary>One operation as text.</summary>
    public static string Line(in IrOp op)
    {
        string b = op.HasImmB ? op.Imm.ToString(CultureInfo.InvariantCulture) : Register(op.B);
        string address = (op.Flags & IrFlags.Absolute) != 0 ? $"0x{op.Imm:x}" : $"{Register(op.A)} + {op.Imm}";
        if ((op.Flags & IrFlags.Indexed) != 0) address += $" + {Register(op.B)}{(op.C >= 4 ? "w" : "")} << {op.C & 3}";
        return op.Code switch
        {
            IrCode.Nop => "nop",
            IrCode.Const => $"{Register(op.Dst)} = 0x{op.Imm:x}",
            IrCode.Load => $"{Register(op.Dst)} = load{op.Width * 8}{((op.Flags & IrFlags.Unsigned) != 0 ? "u" : "")} [{address}]",
            IrCode.Store => $"store{op.Width * 8} [{address}] = {(op.HasImmB ? op.Target.ToString(CultureInfo.InvariantCulture) : Register(op.B))}",
            IrCode.Branch => $"if {Register(op.A)} {op.Condition} {b} goto {To(op)}",
            IrCode.Jump => $"goto {To(op)}",
            IrCode.Label => $"label {op.Label}",
            IrCode.CompareExchange => $"{Register(op.Dst)} = exchange{op.Width * 8} [{Register(op.A)}], {Register(op.C)} by {b}, otherwise goto 0x{op.Target:x}",
            IrCode.JumpIndirect => $"goto [{address}] link {Register(op.Dst)} = 0x{op.Target:x}",
            IrCode.ShAdd or IrCode.ShAddUw => $"{Register(op.Dst)} = {op.Code} {Register(op.A)} << {op.C}, {Register(op.B)}",
            IrCode.Float or IrCode.FloatCsr => $"{Register(op.Dst)} = {op.Aux} {Register(op.A)}, {Register(op.B)}, {Register(op.C)} rm {op.Rm} imm {op.Imm}",
            IrCode.StatusSet => $"{Register(op.Dst)} = sstatus, {(op.C != 0 ? "clear" : "set")} 0x{op.Imm:x}",
            IrCode.CsrRead or IrCode.CsrSwap => $"{Register(op.Dst)} = {op.Code} state[{op.Imm}], {Register(op.A)}",
            IrCode.ReadClock => $"{Register(op.Dst)} = clock {op.Imm} / {op.Target}",
            _ => $"{Register(op.Dst)} = {op.Code} {Register(op.A)}, {b}",
        };
    }

    private static string To(in IrOp op) => op.IsInternal ? $"label {op.Label}" : $"0x{op.Target:x}";

    private static string Register(int r) => r < 32 ? "x" + r.ToString(CultureInfo.InvariantCulture) : "f" + (r - 32).ToString(CultureInfo.InvariantCulture);
}
