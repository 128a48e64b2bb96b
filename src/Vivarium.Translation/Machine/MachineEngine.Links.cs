using System.Runtime.InteropServices;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;

namespace Vivarium.Translation.Machine;

// Chaining, unchaining, kicks and invalidation. Everything that changes links or lists holds _lock.
public sealed unsafe partial class MachineEngine
{
    private void Link(ExitRecord* exit, BlockHeader* target)
    {
        if (exit->Field == 0) return;
        lock (_lock)
        {
            if (exit->LinkedTo != null || exit->Owner->Dead != 0 || target->Dead != 0) return;
            // A kicked thread has not come out yet: linking now might send it round its loop for ever.
            if (Volatile.Read(ref _kicked) != 0) return;
            target = BlockLinks.TargetOf(exit, target);
            if (target == null) return;
            BlockLinks.Link(exit, target, Statistics);
        }
    }

    /// <summary>Makes the block findable by the hart's emitted indirect jumps.</summary>
    private void Publish(HartCode code, BlockHeader* block)
    {
        lock (_lock)
        {
            if (block->Dead == 0) code.Publish(block->GuestPc, block->Entry);
        }
    }

    /// <summary>Called by the kick stub in the middle of emitted code: makes every way out of the block lead to the dispatcher.</summary>
    [UnmanagedCallersOnly]
    private static void OnKick(HartState* state)
    {
        MachineEngine? engine = t_running;
        if (engine == null) return;
        StubTable stubs = engine._cache.Stubs;
        ulong pc = state->KickHostPc;
        engine.Statistics.Kicks++;
        state->Engine[EngineSlots.JumpTable] = engine._cache.EmptyTable;
        if (!t_kicked)
        {
            t_kicked = true;
            Interlocked.Increment(ref engine._kicked);
        }
        if (pc >= stubs.EnterTested && pc < stubs.EnterEnd)
        {
            state->KickHostPc = stubs.Abort;
            return;
        }
        if (pc >= stubs.MissTested && pc < stubs.MissEnd)
        {
            state->KickHostPc = stubs.MissAbort;
            return;
        }
        if (pc >= stubs.ClockTested && pc < stubs.ClockEnd)
        {
            state->KickHostPc = stubs.ClockAbort;
            return;
        }
        BlockHeader* block = engine._cache.Find(pc);
        if (block == null) return; // on its way to the dispatcher, or to the test of the request
        state->KickHostPc = TableJump.Restart(block, pc);
        lock (engine._lock)
        {
            BlockLinks.UnlinkExits(block, engine.Statistics);
        }
    }

    /// <summary>RAM at physical addresses [start, start+length) was or is being written: drops the code of its pages. Any thread.</summary>
    public override void InvalidateCode(ulong start, ulong length)
    {
        ulong offset = start - _bus.RamBase;
        if (offset >= _bus.RamSize || length == 0) return;
        Interlocked.MemoryBarrier(); // what was written is seen before the mark is looked at: who translates marks first, and then reads
        ulong last = Math.Min(offset + length - 1, _bus.RamSize - 1) >> 12;
        for (ulong page = offset >> 12; page <= last; page++)
        {
            if (Volatile.Read(ref _isCode[page]) != 0) Drop(page);
        }
    }

    private void Drop(ulong page)
    {
        lock (_lock)
        {
            _generation++;
            _isCode[page] = 0;
            DropRegions(page);
            if (!_pages.Remove(page, out nint head)) return;
            for (var block = (BlockHeader*)head; block != null; block = block->NextInPage0)
            {
                if (block->Dead == 0) Kill(block);
            }
        }
    }

    /// <summary>Takes a block out of service: nothing leads to it any more, and harts inside leave at its exits.</summary>
    private void Kill(BlockHeader* block)
    {
        block->Dead = 1;
        Statistics.Invalidations++;
        if (block->Overlay != null && block->Overlay->Dead == 0) Kill(block->Overlay);
        RemoveFromBucket(block);
        foreach (HartCode hart in _harts) hart.Remove(block->GuestPc, block->Entry);
        BlockLinks.Isolate(block, Statistics);
        if (block->Fallback != null) RegionGone(block);
    }

    private void AddToBucket(BlockHeader* block)
    {
        ref nint bucket = ref _buckets[Bucket(block->Physical, block->GuestPc)];
        block->NextInBucket = (BlockHeader*)bucket;
        Volatile.Write(ref bucket, (nint)block);
    }

    /// <summary>Nobody finds the block any more, if somebody could: one whose place a region has taken is not there.</summary>
    private void RemoveFromBucket(BlockHeader* block)
    {
        ref nint head = ref _buckets[Bucket(block->Physical, block->GuestPc)];
        if (head == (nint)block)
        {
            Volatile.Write(ref head, (nint)block->NextInBucket);
            return;
        }
        var before = (BlockHeader*)head;
        while (before != null && before->NextInBucket != block) before = before->NextInBucket;
        if (before != null) before->NextInBucket = block->NextInBucket;
    }
}
