using System.Globalization;
using System.Numerics;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing.Lowering;

// Exact faults, for guests that see them. In front of each store the registers that have changed since the store before go to the hart's state, with where the guest is:
// a checkpoint. At a fault execution goes on from the last one in the interpreter. In between the guest has only loaded, which is done again and comes to the same fault; so loads
// are ordinary ones, which LLVM may move, join and vectorise between two checkpoints. It must not lose one that would fault: a load whose result is not needed on all ways on
// is volatile.
internal sealed partial class RegionLowering
{
    private const string Barrier = "fence syncscope(\"singlethread\") seq_cst";

    private readonly bool _exact;
    private readonly HashSet<(RegionBlock, int)> _unneeded = []; // loads
    private ulong[] _unsavedIn = [];
    private ulong _unsaved; // registers that have changed since the last checkpoint: integers, floating point from bit 32 on
    private ulong _checkpoint; // the address that the last checkpoint of this block names

    private bool IsStore(in Instruction i) => TouchOf(i) is { Bytes: not 0, Stores: true };

    private static ulong WritesOf(in Instruction i) => (1UL << IntegerWrite(i) & ~1UL) | (ulong)FloatUse(i).Writes << 32;

    private static ulong ReadsOf(in Instruction i)
    {
        FloatOperandsOf(i, out _, out bool floatRs1, out bool floatRs2);
        ulong reads = (ulong)FloatUse(i).Reads << 32;
        if (!floatRs1) reads |= 1UL << i.Rs1;
        if (!floatRs2) reads |= 1UL << i.Rs2;
        return reads & ~1UL;
    }

    private void AnalyseFaults()
    {
        RegionBlock[] blocks = _region.Blocks;
        _unsavedIn = new ulong[blocks.Length];
        if (!_exact) return;
        for (bool changed = true; changed;)
        {
            changed = false;
            foreach (RegionBlock b in blocks)
            {
                ulong unsaved = _unsavedIn[b.Index];
                foreach ((_, Instruction i) in b.Instructions) unsaved = IsStore(i) ? 0 : unsaved | WritesOf(i);
                foreach (RegionBlock s in b.Successors())
                {
                    changed |= (unsaved & ~_unsavedIn[s.Index]) != 0;
                    _unsavedIn[s.Index] |= unsaved;
                }
            }
        }

        // What is needed on all ways on: by stores (of a checkpoint), exits, branches, addresses, and what computes such things.
        var needed = new ulong[blocks.Length];
        for (bool changed = true; changed;)
        {
            changed = false;
            for (int n = blocks.Length - 1; n >= 0; n--)
            {
                ulong set = NeededAtStart(blocks[n], needed, null);
                changed |= set != needed[blocks[n].Index];
                needed[blocks[n].Index] = set;
            }
        }
        foreach (RegionBlock b in blocks) NeededAtStart(b, needed, _unneeded);
    }

    private ulong NeededAtStart(RegionBlock block, ulong[] needed, HashSet<(RegionBlock, int)>? unneeded)
    {
        ulong set = ulong.MaxValue;
        foreach (RegionBlock s in block.Successors()) set &= needed[s.Index];
        for (int n = block.Instructions.Count - 1; n >= 0; n--)
        {
            Instruction i = block.Instructions[n].Instruction;
            ulong writes = WritesOf(i);
            if (IsStore(i)) set = ulong.MaxValue;
            else if (TouchOf(i).Bytes != 0)
            {
                if ((writes & set) == 0) unneeded?.Add((block, n));
                set = (set & ~writes) | ReadsOf(i);
            }
            else if (writes == 0 || IsTransfer(i.Opcode)) set = (set & ~writes) | ReadsOf(i);
            else
            {
                bool depends = (writes & set) != 0 && !(i.Rs1 == i.Rs2 && i.Opcode is Opcode.Sub or Opcode.Subw or Opcode.Xor);
                set &= ~writes;
                if (depends) set |= ReadsOf(i);
            }
        }
        return set;
    }

    private void ExactPrologue()
    {
        if (!_exact) return;
        Line($"%checkpoint = getelementptr i8, ptr %s, i64 {HartStateLayout.Engine + EngineSlots.RegionCheckpoint * 8}");
        for (int r = 1; r < 32; r++)
        {
            bool isPassed = (RegionConvention.Passed >> r & 1) != 0;
            if (!isPassed && (_set >> r & 1) == 0) continue;
            Line($"%h{r} = getelementptr i8, ptr %s, i64 {HartStateLayout.X + r * 8}");
            if (isPassed) Line($"store i64 %i{r}, ptr %h{r}");
        }
    }

    /// <summary>At a way in.</summary>
    private void FirstCheckpoint(ulong pc)
    {
        if (!_exact) return;
        SetCheckpoint(pc);
        Line(Barrier);
    }

    private void SetCheckpoint(ulong pc)
    {
        Line($"store i32 {(int)(pc - _region.Head)}, ptr %checkpoint");
        _checkpoint = pc;
    }

    private void BeginFaults(RegionBlock block)
    {
        _unsaved = _unsavedIn[block.Index];
        _checkpoint = 1;
    }

    /// <summary>In front of a store.</summary>
    private void BeforeStore()
    {
        if (!_exact) return;
        if (_unsaved == 0 && _checkpoint == _pc) return; // another one has just been done
        var values = new List<(string Type, string Value, string Place)>();
        for (ulong set = _unsaved; set != 0; set &= set - 1)
        {
            int r = BitOperations.TrailingZeroCount(set), f = r - 32;
            if (f < 0)
            {
                values.Add(("i64", Read(r), string.Create(CultureInfo.InvariantCulture, $"%h{r}")));
                continue;
            }
            string value = Slot(f), place = string.Create(CultureInfo.InvariantCulture, $"%q{f}");
            bool isSingle = _kind[f] == Kind.Single;
            if ((_dirty >> f & 1) != 0) value = CleanValue(value, isSingle);
            values.Add(isSingle ? ("i64", Boxed(Op($"bitcast float {value} to i32")), place) : (TypeOf(_kind[f]), value, place));
        }
        Line(Barrier);
        foreach ((string type, string value, string place) in values) Line($"store {type} {value}, ptr {place}");
        SetCheckpoint(_pc);
        Line(Barrier);
        _unsaved = 0;
    }

    /// <summary>Behind it.</summary>
    private void AfterStore(in Instruction i)
    {
        if (!_exact) return;
        Line(Barrier);
        SetCheckpoint(_pc + i.Length);
        Line(Barrier);
    }

    /// <summary>How a load of the current instruction begins.</summary>
    private string Load => _exact && _unneeded.Contains((_block, _position)) ? "load volatile" : "load";
}
