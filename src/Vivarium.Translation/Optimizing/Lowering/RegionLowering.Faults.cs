using System.Globalization;
using System.Text;
using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Optimizing.Lowering;

// Exact faults, for guests that see them: each access is a patch point of LLVM, whose record says in which registers its operands are and where the guest's registers
// are in front of it. The instruction itself is written when the code is loaded. LLVM moves no memory access and no other patch point over one, so at a fault all earlier
// stores are done and no later ones.
internal sealed partial class RegionLowering
{
    private readonly bool _exact;
    private readonly List<RegionAccess> _accesses = [];
    private readonly List<SavedValue> _saved = [];

    /// <summary>The accesses whose faults are exact, by their numbers in the code.</summary>
    public IReadOnlyList<RegionAccess> Accesses => _accesses;

    private static AccessKind AccessKindOf(Opcode o) => o switch
    {
        Opcode.Lb => AccessKind.Lb, Opcode.Lbu => AccessKind.Lbu, Opcode.Lh => AccessKind.Lh, Opcode.Lhu => AccessKind.Lhu, Opcode.Lw => AccessKind.Lw, Opcode.Lwu => AccessKind.Lwu,
        Opcode.Ld => AccessKind.Ld, Opcode.Sb => AccessKind.Sb, Opcode.Sh => AccessKind.Sh, Opcode.Sw => AccessKind.Sw, _ => AccessKind.Sd,
    };

    /// <summary>A load of the current instruction, as it is in a register: i64 (extended), float or double.</summary>
    private string ExactLoad(AccessKind kind, int rs1, long imm)
    {
        (string type, string suffix) = kind switch { AccessKind.LoadSingle => ("float", "f32"), AccessKind.LoadDouble => ("double", "f64"), _ => ("i64", "i64") };
        Declare($"{type} @llvm.experimental.patchpoint.{suffix}(i64, i32, ptr, i32, ...)");
        return Op(ExactAccess(kind, type, suffix, rs1, imm, null));
    }

    /// <summary>A store of the current instruction. <paramref name="value"/> has its type in front.</summary>
    private void ExactStore(AccessKind kind, int rs1, long imm, string value)
    {
        Declare("void @llvm.experimental.patchpoint.void(i64, i32, ptr, i32, ...)");
        Line(ExactAccess(kind, "void", "void", rs1, imm, value));
    }

    private string ExactAccess(AccessKind kind, string type, string suffix, int rs1, long imm, string? value)
    {
        string address = Read(rs1);
        _saved.Clear();
        var live = new StringBuilder();
        for (int r = 1; r < 32; r++)
        {
            // What the region never writes is in the state, or an argument.
            if ((_set >> r & 1) != 0) live.Append(", i64 ").Append(Read(r));
            else if ((RegionConvention.Passed >> r & 1) != 0) live.Append(CultureInfo.InvariantCulture, $", i64 %i{r}");
            else continue;
            _saved.Add(new SavedValue((byte)r, SavedForm.Bits));
        }
        for (int f = 0; f < 32; f++)
        {
            if ((WrittenFloats >> f & 1) == 0) continue;
            bool dirty = (_dirty >> f & 1) != 0;
            live.Append(", ").Append(TypeOf(_kind[f])).Append(' ').Append(Slot(f));
            _saved.Add(new SavedValue((byte)(32 + f), _kind[f] switch
            {
                Kind.Double => dirty ? SavedForm.DirtyDouble : SavedForm.Double, Kind.Single => dirty ? SavedForm.DirtySingle : SavedForm.Single, _ => SavedForm.Bits,
            }));
        }
        var access = new RegionAccess(_pc, kind, (int)imm, [.. _saved]);
        _accesses.Add(access);
        string stored = value == null ? "" : ", " + value;
        return string.Create(CultureInfo.InvariantCulture,
            $"call anyregcc {type} (i64, i32, ptr, i32, ...) @llvm.experimental.patchpoint.{suffix}(i64 {_accesses.Count - 1}, i32 {access.Room}, ptr null, i32 {(value == null ? 2 : 3)}, ptr %m, i64 {address}{stored}{live}) nounwind");
    }
}
