using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Optimizing.Lowering;
using Vivarium.Translation.Optimizing.Regions;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Optimizing;

/// <summary>
/// Makes a region look like a block of tier 1: code in an arena that stores the mapped registers that the region uses, calls it, loads what it
/// wrote, and leaves by the exit whose index it returned. The region's calling convention preserves all registers but rax, the arguments, r11 and
/// xmm16..31.
/// </summary>
internal static unsafe class RegionEntry
{
    private const uint AlwaysSaved = 1u << (int)Gpr.Rdi | 1u << (int)Gpr.Rsi | 1u << (int)Gpr.Rdx | 1u << (int)Gpr.R11;
    private const int EntryOffset = CodeGenerator.EntryOffset, FetchTagOffset = 16, AddendOffset = 24; // of TlbEntry

    /// <summary>Bytes of code that an entry may need.</summary>
    public static int Room(int exits) => 2048 + exits * 64;

    /// <summary>Emits the entry at the arena's cursor and describes it; the cursor has not moved yet. <paramref name="ram"/> is the host's
    /// address of a machine's RAM.</summary>
    public static BlockHeader* Emit(CodeArena arena, StubTable stubs, RegionShape region, ReadOnlySpan<byte> function, ulong ram = 0)
    {
        // The convention does not preserve xmm16..31. Whatever uses them has an EVEX prefix.
        bool highVectors = function.Contains((byte)0x62);
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

        var jumps = new Label[count];
        var stubLabels = new Label[count];
        Label aside = default, pages = default;
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
        asm.Cmp32(Mem.At(Gpr.Rax, (int)((byte*)&header->Aside - (byte*)&header->Entries)), 0);
        asm.Jcc(Cond.Ne, ref aside);
        if (region.HasFloat)
        {
            if (region.Pages.Length != 0)
            {
                asm.Cmp32(Mem.At(RegisterMap.Context, HartStateLayout.FloatReady - RegisterMap.ContextBias), 0);
                asm.Jcc(Cond.E, ref jumps[0]);
            }
            // Compiled for round to nearest.
            asm.Cmp32(Mem.At(RegisterMap.Context, HartStateLayout.Frm - RegisterMap.ContextBias), 0);
            asm.Jcc(Cond.Ne, ref jumps[0]);
        }
        asm.Add(Mem.At(Gpr.Rax), 1);
        MoveIntegers(asm, region.UsedIntegers, load: false);
        MoveFloats(asm, region.UsedFloats, highVectors, load: false);
        asm.Lea(Gpr.Rdi, Mem.At(RegisterMap.Context, -RegisterMap.ContextBias));
        asm.Mov(Gpr.Rsi, RegisterMap.MemoryBase);
        asm.Mov(Gpr.Rdx, EngineSlots.At(EngineSlots.LeaveCell));
        asm.MovImmediate(Gpr.Rax, (long)TranslationEngine.Address(function));
        asm.Call(Gpr.Rax);
        if (region.CountsRounds)
        {
            asm.MovImmediate(Gpr.Rcx, (long)&header->Rounds);
            asm.Mov(Gpr.Rdx, EngineSlots.At(EngineSlots.RegionRounds));
            asm.Add(Mem.At(Gpr.Rcx), Gpr.Rdx);
        }
        MoveIntegers(asm, region.WrittenIntegers, load: true);
        MoveFloats(asm, region.WrittenFloats, highVectors, load: true);

        // A kick that came while the region ran was not noticed by the handler: whoever asks for an exit has set one of these before.
        Label asked = default, table = default, askedTable = default;
        asm.Mov(Gpr.Rcx, EngineSlots.At(EngineSlots.LeaveCell));
        asm.Cmp32(Mem.At(Gpr.Rcx), 0);
        asm.Jcc(Cond.Ne, ref asked);
        asm.LeaRip(Gpr.Rcx, ref table);
        Dispatch(asm);
        asm.Bind(ref asked);
        asm.LeaRip(Gpr.Rcx, ref askedTable);
        Dispatch(asm);

        asm.Bind(ref aside);
        asm.Add(Mem.At(Gpr.Rax, (int)((byte*)&header->Probes - (byte*)&header->Entries)), 1);
        asm.Jmp(ref jumps[0]);
        if (region.Pages.Length > 1)
        {
            asm.Bind(ref pages);
            asm.CallTo((long)(stubs.Exit(BlockExit.RegionPages) - (ulong)start));
            asm.Quad((ulong)records);
        }

        for (int i = 0; i < count; i++)
        {
            ExitRecord* record = records + i;
            *record = default;
            record->Owner = header;
            record->Target = i == 0 ? region.Head : exits[i].Pc;
            record->Kind = i == 0 ? TranslationEngine.RegionRefusal : 0;
            asm.Bind(ref jumps[i]);
            if (exits[i].IsIndirect)
            {
                asm.Mov(Gpr.Rax, EngineSlots.At(EngineSlots.Spill0));
                TableJump.Emit(asm, stubs);
                asm.Bind(ref stubLabels[i]);
                asm.Mov(Gpr.Rax, EngineSlots.At(EngineSlots.Spill0));
                asm.JmpTo((long)(stubs.Exit(BlockExit.Indirect) - (ulong)start));
                continue;
            }
            record->Field = (ulong)(start + asm.JmpPatchable(ref stubLabels[i]));
            record->Stub = (ulong)(start + asm.Offset);
            asm.Bind(ref stubLabels[i]);
            asm.CallTo((long)(stubs.Exit(BlockExit.Direct) - (ulong)start));
            asm.Quad((ulong)record);
        }
        asm.Align(4);
        asm.Bind(ref table);
        WriteTable(asm, jumps, table.Offset);
        asm.Bind(ref askedTable);
        WriteTable(asm, stubLabels, askedTable.Offset);
        if (asm.Overflowed) throw new InvalidOperationException("a region's entry does not fit its room");

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

    private static void Dispatch(Assembler asm)
    {
        asm.Movsxd(Gpr.Rax, Mem.At(Gpr.Rcx, Gpr.Rax, 2));
        asm.Add(Gpr.Rax, Gpr.Rcx);
        asm.Jmp(Gpr.Rax);
    }

    private static void WriteTable(Assembler asm, Label[] labels, int origin)
    {
        Span<byte> entry = stackalloc byte[4];
        foreach (Label label in labels)
        {
            System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(entry, label.Offset - origin);
            asm.Raw(entry);
        }
    }

    private static void MoveIntegers(Assembler asm, uint guests, bool load)
    {
        for (int g = 1; g < 32; g++)
        {
            int h = RegisterMap.IntegerHost[g];
            if (h < 0 || ((guests >> g & 1) == 0 && (AlwaysSaved >> h & 1) == 0)) continue;
            if (load) asm.Mov((Gpr)h, RegisterMap.Home(g));
            else asm.Mov(RegisterMap.Home(g), (Gpr)h);
        }
    }

    private static void MoveFloats(Assembler asm, uint guests, bool all16, bool load)
    {
        for (int f = 0; f < 32; f++)
        {
            int x = RegisterMap.FloatHost[f];
            if (x < 0 || ((guests >> f & 1) == 0 && !(all16 && x >= 16))) continue;
            VecOp move = load ? VecOp.Movsd : VecOp.MovsdStore;
            if (HostFeatures.HasAvx) asm.Vex(move, (Xmm)x, RegisterMap.Home(32 + f));
            else asm.Sse(move, (Xmm)x, RegisterMap.Home(32 + f));
        }
    }
}
