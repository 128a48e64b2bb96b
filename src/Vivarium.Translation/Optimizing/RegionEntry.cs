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
    private const int FetchTagOffset = 16, AddendOffset = 24; // of TlbEntry
    private const int MostMoves = 3; // of vector registers, in an exit itself

    /// <summary>Bytes of code that an entry may need.</summary>
    public static int Room(RegionShape region) => 4096 + region.Exits.Length * 128 + region.Ways.Length * (512 + 32 * region.Pages.Length);

    /// <summary>Emits the entries at the arena's cursor, leads the region's jumps to its exits, and describes them; the cursor has not moved yet.</summary>
    /// <param name="arena">Where the code goes.</param>
    /// <param name="stubs">The cache's.</param>
    /// <param name="region">What to enter.</param>
    /// <param name="code">Its code, whose jumps to the exits lead nowhere yet.</param>
    /// <param name="ram">The host's address of a machine's RAM.</param>
    /// <returns>The entry at the head, which leads to the others.</returns>
    public static BlockHeader* Emit(CodeArena arena, StubTable stubs, RegionShape region, RegionCode code, ulong ram = 0)
    {
        int exits = region.Exits.Length, ways = region.Ways.Length, runs = region.Runs.Length;
        var headers = (BlockHeader*)arena.Allocate(ways * sizeof(BlockHeader) + exits * sizeof(ExitRecord) + runs * sizeof(GuestRun) + region.Pages.Length * sizeof(CodePage));
        var records = (ExitRecord*)(headers + ways);
        var guestRuns = (GuestRun*)(records + exits);
        for (int i = 0; i < runs; i++) guestRuns[i] = new GuestRun { Start = region.Runs[i].Start, Length = region.Runs[i].Length };
        var pages = (CodePage*)(guestRuns + runs);
        region.Pages.CopyTo(new Span<CodePage>(pages, region.Pages.Length));

        var asm = new Assembler();
        byte* start = (byte*)arena.Cursor;
        asm.Reset(start, arena.Remaining);
        Label reload = default;
        var places = new int[exits];
        bool isShared = CountFloats(region.WrittenFloats, region.Vectors) > MostMoves;

        for (int way = 0; way < ways; way++)
        {
            BlockHeader* header = headers + way;
            *header = default;
            header->Primary = headers;
            header->NextWay = way + 1 < ways ? header + 1 : null;
            header->GuestPc = region.Ways[way];
            header->Exits = records + way;
            header->ExitCount = way == 0 ? exits : 1; // the head's are all, those of the other ways among them
            header->Page0 = header->Page1 = ulong.MaxValue;
            header->Pages = pages;
            header->PageCount = region.Pages.Length;
        }
        // The other ways first: behind the head's entry stand all exits.
        for (int n = 1; n <= ways; n++)
        {
            BlockHeader* header = headers + n % ways;
            EmitWay(asm, stubs, region, code, header, ref reload, isShared, places, ram);
            header->CodeEnd = (ulong)(start + asm.Offset);
        }
        for (int i = ways; i < exits; i++) EmitExit(asm, stubs, region, headers, i, ref reload, isShared, places);
        if (isShared)
        {
            asm.Bind(ref reload);
            MoveFloats(asm, region.WrittenFloats, region.Vectors, load: true);
            asm.Ret();
        }
        if (asm.Overflowed) throw new InvalidOperationException("a region's entry does not fit its room");
        headers->CodeEnd = (ulong)(start + asm.Offset);
        headers->Runs = guestRuns;
        headers->RunCount = runs;
        foreach (RegionLink link in region.Links)
        {
            // SAFETY: within the loaded code, which no thread runs yet, and within reach of the arena.
            byte* field = (byte*)code.Place + link.Offset;
            *(int*)field = (int)(start + places[link.Exit] - (field + 4));
        }
        return headers;
    }

    private static void EmitWay(Assembler asm, StubTable stubs, RegionShape region, RegionCode code, BlockHeader* header, ref Label reload, bool isShared, int[] places, ulong ram)
    {
        BlockHeader* primary = header->Primary;
        int way = (int)(header - primary);
        byte* start = asm.Start;
        bool isMachine = region.Pages.Length != 0;
        Label refused = default, aside = default, pages = default;
        asm.Align(16);
        asm.Quad(0);
        asm.Quad(header->GuestPc);
        header->Entry = (ulong)(start + asm.Offset);
        foreach (CodePage page in region.Pages)
        {
            if (page.Virtual >> 12 == header->GuestPc >> 12) continue; // control has got there
            int entry = HartTlb.SlotOf(page.Virtual) * sizeof(TlbEntry);
            asm.MovImmediate(Gpr.Rax, (long)page.Virtual);
            asm.Cmp(Gpr.Rax, Mem.At(RegisterMap.MemoryBase, entry + FetchTagOffset));
            asm.Jcc(Cond.Ne, ref pages);
            asm.MovImmediate(Gpr.Rax, (long)(ram + page.Offset - page.Virtual));
            asm.Cmp(Gpr.Rax, Mem.At(RegisterMap.MemoryBase, entry + AddendOffset));
            asm.Jcc(Cond.Ne, ref pages);
        }
        header->LoopEntry = (ulong)(start + asm.Offset);
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
        // In this order: who takes a region out of service sets the one, and then looks at the other.
        asm.MovImmediate(Gpr.Rax, (long)&primary->Entries);
        asm.Mov(Gpr.Rcx, EngineSlots.At(EngineSlots.LeaveCell));
        asm.Mov(Mem.At(Gpr.Rcx, SlotCells.RegionOffset), Gpr.Rax);
        asm.Cmp32(Mem.At(Gpr.Rax, BlockHeader.AsideOffset), 0);
        asm.Jcc(Cond.Ne, ref aside);
        asm.Add(Mem.At(Gpr.Rax, way == 0 ? 0 : BlockHeader.ReturnsOffset), 1);
        if (region.CountsRounds) asm.Mov(EngineSlots.At(EngineSlots.RegionCounters), Gpr.Rax);
        MoveFloats(asm, region.UsedFloats, region.Vectors, load: false);
        foreach ((Gpr home, Gpr carrier) in RegionConvention.Carried) asm.Mov(carrier, home);
        if (way != 0) asm.Mov(EngineSlots.At(EngineSlots.RegionWay), way);
        asm.Lea(RegionConvention.State, Mem.At(RegisterMap.Context, -RegisterMap.ContextBias));
        asm.Alu(AluOp.Sub, Size.S64, Gpr.Rsp, 8); // where a return address would be
        asm.JmpTo((long)(code.Function - (ulong)start));

        asm.Bind(ref aside);
        asm.Mov(Mem.At(Gpr.Rcx, SlotCells.RegionOffset), 0);
        if (way == 0)
        {
            asm.Add(Mem.At(Gpr.Rax, BlockHeader.ProbesOffset), 1);
            asm.Jmp(ref refused);
        }
        if (region.Pages.Length > 1)
        {
            Label behind = default;
            if (way != 0) asm.Jmp(ref behind);
            asm.Bind(ref pages);
            asm.CallTo((long)(stubs.Exit(BlockExit.RegionPages) - (ulong)start));
            asm.Quad((ulong)header->Exits);
            if (way != 0) asm.Bind(ref behind);
        }
        if (way != 0) asm.Jmp(ref refused);
        EmitExit(asm, stubs, region, header, way, ref reload, isShared, places, ref refused);
    }

    private static void EmitExit(Assembler asm, StubTable stubs, RegionShape region, BlockHeader* owner, int index, ref Label reload, bool isShared, int[] places)
    {
        Label none = default;
        EmitExit(asm, stubs, region, owner, index, ref reload, isShared, places, ref none);
    }

    /// <summary>What the region jumps to; <paramref name="refused"/>, of a refusal, is where those go on who have not been in the region.</summary>
    private static void EmitExit(Assembler asm, StubTable stubs, RegionShape region, BlockHeader* owner, int index, ref Label reload, bool isShared, int[] places, ref Label refused)
    {
        byte* start = asm.Start;
        RegionExit exit = region.Exits[index];
        ExitRecord* record = owner->Primary->Exits + index;
        bool isRefusal = index < region.Ways.Length;
        *record = default;
        record->Owner = owner;
        record->Target = isRefusal ? owner->GuestPc : exit.Pc;
        record->Kind = isRefusal ? TranslationEngine.RegionRefusal : 0;
        asm.Align(16);
        places[index] = asm.Offset;
        asm.Alu(AluOp.Add, Size.S64, Gpr.Rsp, 8);
        foreach ((Gpr home, Gpr carrier) in RegionConvention.Carried) asm.Mov(home, carrier);
        if (exit.IsIndirect) asm.Mov(Gpr.Rax, RegionConvention.State);
        asm.Mov(RegisterMap.MemoryBase, Mem.At(RegisterMap.Context, (region.Pages.Length != 0 ? HartStateLayout.DataTlb : HartStateLayout.MemoryBase) - RegisterMap.ContextBias));
        if (isShared) asm.Call(ref reload);
        else MoveFloats(asm, region.WrittenFloats, region.Vectors, load: true);
        // A kick that came while the region ran was not noticed by the handler: whoever asks for an exit has set this before.
        Label stub = default;
        asm.Mov(Gpr.Rcx, EngineSlots.At(EngineSlots.LeaveCell));
        asm.Mov(Mem.At(Gpr.Rcx, SlotCells.RegionOffset), 0);
        asm.Cmp32(Mem.At(Gpr.Rcx), 0);
        asm.Jcc(Cond.Ne, ref stub);
        if (exit.IsIndirect)
        {
            TableJump.Emit(asm, stubs);
            asm.Bind(ref stub);
            asm.JmpTo((long)(stubs.Exit(BlockExit.Indirect) - (ulong)start));
            return;
        }
        if (isRefusal) asm.Bind(ref refused);
        record->Field = (ulong)(start + asm.JmpPatchable(ref stub));
        record->Stub = (ulong)(start + asm.Offset);
        asm.Bind(ref stub);
        asm.CallTo((long)(stubs.Exit(BlockExit.Direct) - (ulong)start));
        asm.Quad((ulong)record);
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
