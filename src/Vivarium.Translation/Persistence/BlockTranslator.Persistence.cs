using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Ir;
using Vivarium.Translation.Persistence;
using Vivarium.Translation.Quick;

namespace Vivarium.Translation;

// Blocks to records of the persistent cache and back.
internal sealed unsafe partial class BlockTranslator
{
    private const int MaxRunLength = IrBlock.MaxGuestInstructions * 4 + 4;

    private byte[] _record = new byte[8 << 10];
    private int _recordLength;

    /// <summary>What <see cref="Capture"/> made.</summary>
    public ReadOnlySpan<byte> Captured => _record.AsSpan(0, _recordLength);

    /// <summary>Makes a record of the last translated block, which nobody has linked yet. False where it cannot be stored: some of its bytes
    /// are not the file's, or its code refers to something that a record does not name.</summary>
    public bool Capture(BlockHeader* block, MemoryWindow memory, in CodeRange range)
    {
        bool quick = block->Counter != null;
        ReadOnlySpan<int> externals = quick ? _quick.Externals : _generator.Asm.Externals;
        int guestLength = 0, faultBytes = quick ? block->FaultCount + 7 & ~7 : block->FaultCount * sizeof(FaultPoint);
        for (int i = 0; i < block->RunCount; i++)
        {
            GuestRun run = block->Runs[i];
            if (run.Length <= 0 || run.Length > MaxRunLength || run.Start < range.Start || run.Start + (ulong)run.Length > range.End) return false;
            guestLength += run.Length;
        }
        byte* code = (byte*)(block->Entry - CodeGenerator.EntryOffset);
        int codeLength = (int)(block->CodeEnd - (ulong)code);
        int length = sizeof(StoredHead) + block->ExitCount * sizeof(StoredExit) + block->RunCount * sizeof(StoredRun)
            + externals.Length * sizeof(StoredRelocation) + faultBytes + guestLength + codeLength;
        length = (length + 7) & ~7;
        if (codeLength > ushort.MaxValue) return false;
        if (length > _record.Length) _record = new byte[length];
        _recordLength = length;
        _record.AsSpan(length - 8, 8).Clear();
        fixed (byte* record = _record)
        {
            var head = (StoredHead*)record;
            *head = new StoredHead
            {
                Length = (uint)length, FileOffset = (uint)(block->GuestPc - range.Bias), GuestHash = block->GuestHash, CodeLength = (ushort)codeLength,
                LoopOffset = (ushort)(block->LoopEntry - (ulong)code), ExitCount = (ushort)block->ExitCount, FaultCount = (ushort)block->FaultCount,
                RunCount = (ushort)block->RunCount, RelocationCount = (ushort)externals.Length, GuestLength = (ushort)guestLength,
                Flags = quick ? StoredHead.Quick : (ushort)0,
            };
            for (int h = 0; h < 16 && !quick; h++) head->GuestOfHost[h] = block->GuestOfHost[h];
            var exits = (StoredExit*)(head + 1);
            for (int i = 0; i < block->ExitCount; i++)
            {
                ExitRecord exit = block->Exits[i];
                exits[i] = new StoredExit
                {
                    Target = (long)(exit.Target - block->GuestPc), Field = exit.Field == 0 ? 0 : (uint)(exit.Field - (ulong)code),
                    Stub = (uint)(exit.Stub - (ulong)code), Kind = (uint)exit.Kind,
                };
            }
            var runs = (StoredRun*)(exits + block->ExitCount);
            var relocations = (StoredRelocation*)(runs + block->RunCount);
            byte* faults = (byte*)(relocations + externals.Length);
            int faultsUsed = quick ? block->FaultCount : faultBytes;
            new ReadOnlySpan<byte>(block->Faults, faultsUsed).CopyTo(new Span<byte>(faults, faultsUsed));
            new Span<byte>(faults + faultsUsed, faultBytes - faultsUsed).Clear();
            byte* guest = faults + faultBytes, copy = guest + guestLength;
            ulong at = (ulong)guest;
            for (int i = 0; i < block->RunCount; i++)
            {
                GuestRun run = block->Runs[i];
                runs[i] = new StoredRun { Start = (long)(run.Start - block->GuestPc), Length = (ulong)run.Length };
                if (memory.Read(run.Start, new Span<byte>((void*)at, run.Length)) != run.Length) return false;
                at += (ulong)run.Length;
            }
            new ReadOnlySpan<byte>(code, codeLength).CopyTo(new Span<byte>(copy, codeLength));
            if (quick) *(int*)(copy + QuickTranslator.CounterField) = 0;
            return CaptureRelocations(block, externals, code, copy, relocations);
        }
    }

    private bool CaptureRelocations(BlockHeader* block, ReadOnlySpan<int> externals, byte* code, byte* copy, StoredRelocation* relocations)
    {
        int records = 0;
        for (int i = 0; i < externals.Length; i++)
        {
            int offset = externals[i];
            if (!TryFindStub((ulong)(code + offset + 4 + *(int*)(code + offset)), out BlockExit stub)) return false;
            int exit = -1;
            if (HasRecord((ushort)stub))
            {
                long distance = (long)(*(ulong*)(code + offset + 4) - (ulong)block->Exits);
                if (distance < 0 || distance % sizeof(ExitRecord) != 0 || distance / sizeof(ExitRecord) >= block->ExitCount) return false;
                exit = (int)(distance / sizeof(ExitRecord));
                *(ulong*)(copy + offset + 4) = 0;
                records++;
            }
            *(int*)(copy + offset) = 0;
            relocations[i] = new StoredRelocation { Offset = (ushort)offset, Stub = (ushort)stub, Exit = exit };
        }
        return records == block->ExitCount;
    }

    /// <summary>Whether the address of an exit's record stands behind a call of the stub.</summary>
    private static bool HasRecord(ushort stub) => stub is not ((ushort)BlockExit.Indirect or (ushort)BlockExit.Promote);

    private bool TryFindStub(ulong address, out BlockExit stub)
    {
        for (stub = BlockExit.Direct; stub <= BlockExit.Interpret; stub++)
        {
            if (cache.Stubs.Exit(stub) == address) return true;
        }
        stub = BlockExit.Promote;
        return cache.Stubs.Exit(stub) == address;
    }

    /// <summary>Makes a block of the record for <paramref name="pc"/>, as <see cref="Translate"/> would; it is not published yet. Null where there
    /// is none, where the guest's bytes are others, where the cache is full, and where the record is nonsense (<paramref name="invalid"/>). A block of
    /// the quick path has <paramref name="quickRuns"/> runs before it; 0 takes no such block.</summary>
    public BlockHeader* Load(MemoryWindow memory, ulong pc, in CodeRange range, int quickRuns, out bool invalid)
    {
        invalid = false;
        int length = range.Blocks!.Find((uint)(pc - range.Bias), ref _record);
        if (length == 0) return null;
        fixed (byte* record = _record)
        {
            invalid = !IsValid(record, length);
            var head = (StoredHead*)record;
            if (invalid || head->IsQuick && quickRuns == 0 || !IsSameGuest(record, memory, pc, range) || !HasArena(LargestBlock)) return null;
            return Install(head, pc, quickRuns);
        }
    }

    /// <summary>Whether everything in a record lies within its bounds.</summary>
    private static bool IsValid(byte* record, int length)
    {
        // The caller knows that a whole head is there.
        var head = (StoredHead*)record;
        long needed = sizeof(StoredHead) + head->ExitCount * (long)sizeof(StoredExit) + head->RunCount * (long)sizeof(StoredRun)
            + head->RelocationCount * (long)sizeof(StoredRelocation) + head->FaultBytes + head->GuestLength + head->CodeLength;
        int code = head->CodeLength;
        if (needed > length || code <= CodeGenerator.EntryOffset || code > LargestBlock - 64) return false;
        if (head->LoopOffset < CodeGenerator.EntryOffset || head->LoopOffset >= code || head->RunCount is 0 or > IrBlock.MaxRuns) return false;
        for (int h = 0; h < 16; h++)
        {
            if (head->GuestOfHost[h] >= 32) return false;
        }
        var exits = (StoredExit*)(head + 1);
        for (int i = 0; i < head->ExitCount; i++)
        {
            StoredExit exit = exits[i];
            if (exit.Kind > 1 || exit.Stub < CodeGenerator.EntryOffset || exit.Stub >= code) return false;
            if (exit.Field != 0 && (exit.Field < CodeGenerator.EntryOffset || exit.Field % 4 != 0 || exit.Field > code - 4)) return false;
            if (exit.Field == 0 && exit.Kind == 1) return false;
        }
        var runs = (StoredRun*)(exits + head->ExitCount);
        ulong guestLength = 0;
        for (int i = 0; i < head->RunCount; i++)
        {
            if (runs[i].Length is 0 or > MaxRunLength) return false;
            guestLength += runs[i].Length;
        }
        if (guestLength != head->GuestLength) return false;
        var relocations = (StoredRelocation*)(runs + head->RunCount);
        for (int i = 0; i < head->RelocationCount; i++)
        {
            StoredRelocation r = relocations[i];
            bool indirect = !HasRecord(r.Stub);
            if (r.Stub > (ushort)BlockExit.Interpret && !(r.Stub == (ushort)BlockExit.Promote && head->IsQuick) || r.Offset < CodeGenerator.EntryOffset || r.Offset > code - (indirect ? 4 : 12)) return false;
            if (!indirect && (uint)r.Exit >= head->ExitCount) return false;
        }
        if (head->IsQuick)
        {
            // The counter's field, and lengths that add up.
            byte* shapes = (byte*)(relocations + head->RelocationCount);
            int hostLength = head->LoopOffset, ofGuest = 0;
            for (int i = 0; i < head->FaultCount; i++) (hostLength, ofGuest) = (hostLength + (shapes[i] >> 1), ofGuest + ((shapes[i] & 1) != 0 ? 4 : 2));
            return head->RunCount == 1 && ofGuest == head->GuestLength && hostLength <= code && head->LoopOffset >= QuickTranslator.CounterField + 4;
        }
        var faults = (FaultPoint*)(relocations + head->RelocationCount);
        for (int i = 0; i < head->FaultCount; i++)
        {
            if (faults[i].CodeOffset >= code || i > 0 && faults[i].CodeOffset < faults[i - 1].CodeOffset) return false;
        }
        return true;
    }

    /// <summary>Whether the guest's bytes are those that the block was made from, inside the range, on at most two pages.</summary>
    private static bool IsSameGuest(byte* record, MemoryWindow memory, ulong pc, in CodeRange range)
    {
        var head = (StoredHead*)record;
        var runs = (StoredRun*)((StoredExit*)(head + 1) + head->ExitCount);
        byte* guest = (byte*)((StoredRelocation*)(runs + head->RunCount) + head->RelocationCount) + head->FaultBytes;
        Span<byte> bytes = stackalloc byte[MaxRunLength];
        ulong page0 = pc >> 12, page1 = ulong.MaxValue;
        if ((ulong)runs[0].Start != 0) return false;
        for (int i = 0; i < head->RunCount; i++)
        {
            ulong start = pc + (ulong)runs[i].Start, end = start + runs[i].Length;
            if (start < range.Start || end > range.End || end <= start) return false;
            for (ulong page = start >> 12; page <= end - 1 >> 12; page++)
            {
                if (page == page0 || page == page1) continue;
                if (page1 != ulong.MaxValue) return false;
                page1 = page;
            }
            Span<byte> now = bytes[..(int)runs[i].Length];
            if (memory.Read(start, now) != now.Length || !now.SequenceEqual(new ReadOnlySpan<byte>(guest, now.Length))) return false;
            guest += now.Length;
        }
        return true;
    }

    private BlockHeader* Install(StoredHead* head, ulong pc, int quickRuns)
    {
        int exitCount = head->ExitCount, runCount = head->RunCount, faultCount = head->FaultCount;
        bool quick = head->IsQuick;
        int headerBytes = quick ? BlockHeader.QuickSize : sizeof(BlockHeader), faultBytes = head->FaultBytes;
        var header = (BlockHeader*)_arena!.Allocate(headerBytes + exitCount * sizeof(ExitRecord) + runCount * sizeof(GuestRun) + faultBytes);
        new Span<byte>(header, headerBytes).Clear();
        var exits = (ExitRecord*)((byte*)header + headerBytes);
        var runs = (GuestRun*)(exits + exitCount);
        var faults = (FaultPoint*)(runs + runCount);

        var storedExits = (StoredExit*)(head + 1);
        var storedRuns = (StoredRun*)(storedExits + exitCount);
        var relocations = (StoredRelocation*)(storedRuns + runCount);
        byte* storedFaults = (byte*)(relocations + head->RelocationCount);
        byte* storedCode = storedFaults + faultBytes + head->GuestLength;

        // SAFETY: IsValid has checked every offset against the code's length, and HasArena that the arena has room for it.
        byte* code = (byte*)_arena.Cursor;
        new ReadOnlySpan<byte>(storedCode, head->CodeLength).CopyTo(new Span<byte>(code, head->CodeLength));
        *(ulong*)(code + CodeGenerator.EntryOffset - 8) = pc;
        for (int i = 0; i < head->RelocationCount; i++)
        {
            StoredRelocation r = relocations[i];
            *(int*)(code + r.Offset) = (int)(cache.Stubs.Exit((BlockExit)r.Stub) - (ulong)(code + r.Offset + 4));
            if (HasRecord(r.Stub)) *(ExitRecord**)(code + r.Offset + 4) = exits + r.Exit;
        }

        header->GuestPc = pc;
        header->Entry = (ulong)(code + CodeGenerator.EntryOffset);
        header->LoopEntry = (ulong)(code + head->LoopOffset);
        header->CodeEnd = (ulong)(code + head->CodeLength);
        header->Exits = exits;
        header->ExitCount = exitCount;
        header->Faults = faults;
        header->FaultCount = faultCount;
        header->Runs = runs;
        header->RunCount = runCount;
        header->GuestHash = head->GuestHash;
        if (quick)
        {
            header->Counter = _arena.NewCounter(quickRuns - 1);
            *(int*)(code + QuickTranslator.CounterField) = (int)((ulong)header->Counter - (ulong)(code + QuickTranslator.CounterField + 4));
        }
        else
        {
            for (int h = 0; h < 16; h++) header->GuestOfHost[h] = head->GuestOfHost[h];
        }
        for (int i = 0; i < exitCount; i++)
        {
            StoredExit stored = storedExits[i];
            exits[i] = new ExitRecord
            {
                Target = pc + (ulong)stored.Target, Owner = header, Field = stored.Field == 0 ? 0 : (ulong)(code + stored.Field),
                Stub = (ulong)(code + stored.Stub), Kind = (int)stored.Kind,
            };
        }
        header->Page0 = pc >> 12;
        header->Page1 = ulong.MaxValue;
        for (int i = 0; i < runCount; i++)
        {
            ulong start = pc + (ulong)storedRuns[i].Start, first = start >> 12, last = start + storedRuns[i].Length - 1 >> 12;
            runs[i] = new GuestRun { Start = start, Length = (int)storedRuns[i].Length };
            if (first != header->Page0) header->Page1 = first;
            if (last != header->Page0) header->Page1 = last;
        }
        new ReadOnlySpan<byte>(storedFaults, faultBytes).CopyTo(new Span<byte>(faults, faultBytes));
        _cursorBefore = _arena.Cursor;
        _arena.Cursor = (header->CodeEnd + 15) & ~15UL;
        return header;
    }
}
