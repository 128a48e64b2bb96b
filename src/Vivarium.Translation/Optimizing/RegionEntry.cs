using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Optimizing.Lowering;
using Vivarium.Translation.Optimizing.Regions;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Optimizing;

/// <summary>
/// Makes a region look like a block of tier 1: code in an arena that jumps to the region with guest registers where <see cref="RegionConvention"/> has them, and for
/// each of its exits the code that the region jumps to, which goes on to the next block. Vector registers that hold guest registers go by the hart's state where
/// the region uses them.
/// </summary>
internal static unsafe class RegionEntry
{
    private const int EntryOffset = CodeGenerator.EntryOffset, FetchTagOffset = 16, AddendOffset = 24; // of TlbEntry
    private const int MostMoves = 3; // of vector registers, in an exit itself

    /// <summary>Bytes of code that an entry may need.</summary>
    public static int Room(int exits) => 4096 + exits * 128;

    /// <summary>Emits the entry at the arena's cursor, leads the region's jumps to its exits, and describes it; the cursor has not moved yet. <paramref name="ram"/> is
    /// the host's address of a machine's RAM.</summary>
    public static BlockHeader* Emit(CodeArena arena, StubTable stubs, RegionShape region, RegionCode code, ulong ram = 0)
    {
        bool isMachine = region.Pages.Length != 0;
        RegionExit[] exits = region.Exits;
        int count = exits.Length, runs = region.Runs.Length;
        var header = (BlockHeader*)arena.Allocate(sizeof(BlockHeader) + count * sizeof(ExitRecord) + runs * sizeof(GuestRun) + region.Pages.Length * sizeof(CodePage));
        *header = default;
        var records = (ExitRecord*)(header + 1);
        var guestRuns = (GuestRun*)(records + count);
        for (int i = 0; i < runs; i++) guestRuns[i] = new GuestRun { Start = region.Runs[i].Start, Length = region.Runs[i].Length };

        header->Pages = (CodePage*)(guestRuns + runs);
        header->PageCount = region.Pages.Length;
        region.Pages.CopyTo(new Span<CodePage>(header->Pages, header->PageCount));

        var asm = new Assembler();
        byte* start = (byte*)arena.Cursor;
        asm.Reset(start, arena.Remaining);
        asm.Quad(0);
        asm.Quad(region.Head);

        var refused = default(Label);
        Label aside = default, pages = default, reload = default;
        foreach (CodePage page in region.Pages)
        {
            if (page.Virtual >> 12 == region.Head >> 12) continue; // control has got there
            int entry = HartTlb.SlotOf(page.Virtual) * sizeof(TlbEntry);
            asm.MovImmediate(Gpr.Rax, (long)page.Virtual);
            asm.Cmp(Gpr.Rax, Mem.At(RegisterMap.MemoryBase, entry + FetchTagOffset));
            asm.Jcc(Cond.Ne, ref pages);
            asm.MovImmediate(Gpr.Rax, (long)(ram + page.Offset - page.Virtual));
            asm.Cmp(Gpr.Rax, Mem.At(RegisterMap.MemoryBase, entry + AddendOffset));
            asm.Jcc(Cond.Ne, ref pages);
        }
        int behindPages = asm.Offset;
        asm.MovImmediate(Gpr.Rax, (long)&header->Entries);
        asm.Cmp32(Mem.At(Gpr.Rax, BlockHeader.AsideOffset), 0);
        asm.Jcc(Cond.Ne, ref aside);
        if (region.HasFloat)
        {
            if (isMachine)
            {
                asm.Cmp32(Mem.At(RegisterMap.Context, HartStateLayout.FloatReady - RegisterMap.ContextBias), 0);
                asm.Jcc(Cond.E, ref refused);
            }
            // Compiled for round to nearest.
            asm.Cmp32(Mem.At(RegisterMap.Context, HartStateLayout.Frm - RegisterMap.ContextBias), 0);
            asm.Jcc(Cond.Ne, ref refused);
        }
        asm.Add(Mem.At(Gpr.Rax), 1);
        if (region.CountsRounds) asm.Mov(EngineSlots.At(EngineSlots.RegionCounters), Gpr.Rax);
        MoveFloats(asm, region.UsedFloats, region.Vectors, load: false);
        foreach ((Gpr home, Gpr carrier) in RegionConvention.Carried) asm.Mov(carrier, home);
        asm.Lea(RegionConvention.State, Mem.At(RegisterMap.Context, -RegisterMap.ContextBias));
        asm.Alu(AluOp.Sub, Size.S64, Gpr.Rsp, 8); // where a return address would be
        asm.JmpTo((long)(code.Function - (ulong)start));

        asm.Bind(ref aside);
        asm.Add(Mem.At(Gpr.Rax, BlockHeader.ProbesOffset), 1);
        asm.Jmp(ref refused);
        if (region.Pages.Length > 1)
        {
            asm.Bind(ref pages);
            asm.CallTo((long)(stubs.Exit(BlockExit.RegionPages) - (ulong)start));
            asm.Quad((ulong)records);
        }
        bool isShared = CountFloats(region.WrittenFloats, region.Vectors) > MostMoves;
        if (isShared)
        {
            asm.Bind(ref reload);
            MoveFloats(asm, region.WrittenFloats, region.Vectors, load: true);
            asm.Ret();
        }

        var places = new int[count];
        for (int i = 0; i < count; i++)
        {
            ExitRecord* record = records + i;
            *record = default;
            record->Owner = header;
            record->Target = i == 0 ? region.Head : exits[i].Pc;
            record->Kind = i == 0 ? TranslationEngine.RegionRefusal : 0;
            asm.Align(16);
            places[i] = asm.Offset;
            asm.Alu(AluOp.Add, Size.S64, Gpr.Rsp, 8);
            foreach ((Gpr home, Gpr carrier) in RegionConvention.Carried) asm.Mov(home, carrier);
            if (exits[i].IsIndirect) asm.Mov(Gpr.Rax, RegionConvention.State);
            asm.Mov(RegisterMap.MemoryBase, Mem.At(RegisterMap.Context, (isMachine ? HartStateLayout.DataTlb : HartStateLayout.MemoryBase) - RegisterMap.ContextBias));
            if (isShared) asm.Call(ref reload);
            else MoveFloats(asm, region.WrittenFloats, region.Vectors, load: true);
            // A kick that came while the region ran was not noticed by the handler: whoever asks for an exit has set this before.
            Label stub = default;
            asm.Mov(Gpr.Rcx, EngineSlots.At(EngineSlots.LeaveCell));
            asm.Cmp32(Mem.At(Gpr.Rcx), 0);
            asm.Jcc(Cond.Ne, ref stub);
            if (exits[i].IsIndirect)
            {
                TableJump.Emit(asm, stubs);
                asm.Bind(ref stub);
                asm.JmpTo((long)(stubs.Exit(BlockExit.Indirect) - (ulong)start));
                continue;
            }
            if (i == 0) asm.Bind(ref refused);
            record->Field = (ulong)(start + asm.JmpPatchable(ref stub));
            record->Stub = (ulong)(start + asm.Offset);
            asm.Bind(ref stub);
            asm.CallTo((long)(stubs.Exit(BlockExit.Direct) - (ulong)start));
            asm.Quad((ulong)record);
        }
        if (asm.Overflowed) throw new InvalidOperationException("a region's entry does not fit its room");

        foreach (RegionLink link in region.Links)
        {
            // SAFETY: within the loaded code, which no thread runs yet, and within reach of the arena.
            byte* field = (byte*)code.Place + link.Offset;
            *(int*)field = (int)(start + places[link.Exit] - (field + 4));
        }
        header->GuestPc = region.Head;
        header->Entry = (ulong)(start + EntryOffset);
        header->LoopEntry = (ulong)(start + behindPages);
        header->CodeEnd = (ulong)(start + asm.Offset);
        header->Exits = records;
        header->ExitCount = count;
        header->Runs = guestRuns;
        header->RunCount = runs;
        header->Page0 = header->Page1 = ulong.MaxValue;
        return header;
    }

    private static bool Moves(uint guests, uint vectors, int f) =>
        RegisterMap.FloatHost[f] is >= 0 and var x && ((guests >> f | vectors >> x) & 1) != 0;

    private static int CountFloats(uint guests, uint vectors)
    {
        int count = 0;
        for (int f = 0; f < 32; f++) count += Moves(guests, vectors, f) ? 1 : 0;
        return count;
    }

    /// <summary>Between vector registers and the hart's state: those of the guest's <paramref name="guests"/>, and what else of the guest's the region's code would lose.</summary>
    private static void MoveFloats(Assembler asm, uint guests, uint vectors, bool load)
    {
        for (int f = 0; f < 32; f++)
        {
            if (!Moves(guests, vectors, f)) continue;
            int x = RegisterMap.FloatHost[f];
            VecOp move = load ? VecOp.Movsd : VecOp.MovsdStore;
            if (HostFeatures.HasAvx) asm.Vex(move, (Xmm)x, RegisterMap.Home(32 + f));
            else asm.Sse(move, (Xmm)x, RegisterMap.Home(32 + f));
        }
    }
}
