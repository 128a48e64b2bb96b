using System.Runtime.InteropServices;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation;

// Chaining, unchaining, kicks and invalidation. Everything that changes links, tables or lists holds _lock.
public sealed unsafe partial class TranslationEngine
{
    /// <summary>Patches an exit to jump straight to <paramref name="target"/>.</summary>
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

    private void Unlink(ExitRecord* exit) => BlockLinks.Unlink(exit, Statistics);

    /// <summary>Makes the block findable by emitted indirect jumps.</summary>
    private void Publish(BlockHeader* block)
    {
        lock (_lock)
        {
            if (block->Dead == 0) _jumpTable.Set(block->GuestPc, block->Entry);
        }
    }

    /// <summary>
    /// Called by the kick stub, on the kicked thread, in the middle of emitted code: makes every way out of the block lead to the
    /// dispatcher, which sees the exit request. So loops need no poll.
    /// </summary>
    [UnmanagedCallersOnly]
    private static void OnKick(HartState* state)
    {
        TranslationEngine? engine = t_running;
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

    private void AddToPage(BlockHeader* block, ulong page, bool first)
    {
        ref nint head = ref CollectionsMarshal.GetValueRefOrAddDefault(_pages, page, out _);
        if (first) block->NextInPage0 = (BlockHeader*)head;
        else block->NextInPage1 = (BlockHeader*)head;
        head = (nint)block;
    }

    private static BlockHeader* Next(BlockHeader* block, ulong page) => block->Page0 == page ? block->NextInPage0 : block->NextInPage1;

    /// <inheritdoc/>
    public override void InvalidateCode(ulong start, ulong length)
    {
        _interpreter.InvalidateCode(start, length);
        _codeRanges.Remove(start, length);
        ForEachBlock(start, length, static (_, _) => true);
    }

    /// <inheritdoc/>
    public override void SynchronizeCode(ulong start, ulong length)
    {
        _interpreter.SynchronizeCode(start, length);
        ForEachBlock(start, length, static (engine, block) => engine.Changed((BlockHeader*)block));
    }

    /// <summary>Drops the blocks with bytes in the range for which <paramref name="drop"/> says so.</summary>
    private void ForEachBlock(ulong start, ulong length, Func<TranslationEngine, nint, bool> drop)
    {
        if (length == 0) return;
        ulong end = start + length < start ? ulong.MaxValue : start + length;
        ulong firstPage = start >> 12, lastPage = (end - 1) >> 12;
        ulong[]? pages = null;
        List<ulong>? dropped;
        lock (_lock)
        {
            _generation++;
            if (lastPage - firstPage >= (ulong)_pages.Count) pages = [.. _pages.Keys];
            dropped = DropRegions(start, end, drop);
        }
        // Page by page: other threads publish and chain between. What they began before is not published, what they begin now is made from the
        // code as it is now.
        if (pages == null)
        {
            for (ulong page = firstPage; page <= lastPage; page++) lock (_lock) DropInPage(page, start, end, drop);
        }
        else
        {
            foreach (ulong page in pages)
            {
                if (page >= firstPage && page <= lastPage) lock (_lock) DropInPage(page, start, end, drop);
            }
        }
        if (dropped != null) AwaitLeaving(dropped);
    }

    private void DropInPage(ulong page, ulong start, ulong end, Func<TranslationEngine, nint, bool> drop)
    {
        if (!_pages.TryGetValue(page, out nint head)) return;
        BlockHeader* previous = null;
        for (var block = (BlockHeader*)head; block != null;)
        {
            BlockHeader* next = Next(block, page);
            if (block->Dead == 0 && Touches(block, start, end) && drop(this, (nint)block)) Kill(block);
            if (block->Dead != 0)
            {
                // Out of this page's list; the other page's list drops it when it is walked.
                if (previous == null) head = (nint)next;
                else if (previous->Page0 == page) previous->NextInPage0 = next;
                else previous->NextInPage1 = next;
            }
            else previous = block;
            block = next;
        }
        if (head == 0) _pages.Remove(page);
        else _pages[page] = head;
    }

    private static bool Touches(BlockHeader* block, ulong start, ulong end)
    {
        for (int i = 0; i < block->RunCount; i++)
        {
            GuestRun run = block->Runs[i];
            if (run.Start < end && run.Start + (ulong)Math.Max(run.Length, 4) > start) return true;
        }
        return false;
    }

    /// <summary>Takes a block out of service: nothing leads to it any more, and threads inside leave at its exits.</summary>
    private void Kill(BlockHeader* block)
    {
        block->Dead = 1;
        Statistics.Invalidations++;
        if (block->Overlay != null && block->Overlay->Dead == 0) Kill(block->Overlay);
        _blocks.Remove(block);
        _jumpTable.Remove(block->GuestPc, block->Entry);
        BlockLinks.Isolate(block, Statistics);
        if (block->Fallback != null) RegionGone(block);
    }

    /// <summary>Whether the guest bytes are no longer what the block was made from.</summary>
    private bool Changed(BlockHeader* block)
    {
        if (_memory is not { } memory) return true;
        ulong hash = GuestHash.Start;
        Span<byte> bytes = stackalloc byte[IrBlock.MaxGuestInstructions * 4];
        for (int i = 0; i < block->RunCount; i++)
        {
            GuestRun run = block->Runs[i];
            if (run.Length > bytes.Length || memory.Read(run.Start, bytes[..run.Length]) != run.Length) return true;
            for (int at = 0; at < run.Length;)
            {
                uint bits = (uint)(bytes[at] | bytes[at + 1] << 8);
                if ((bits & 3) == 3)
                {
                    if (at + 4 > run.Length) return true;
                    bits |= (uint)(bytes[at + 2] << 16 | bytes[at + 3] << 24);
                    at += 4;
                }
                else at += 2;
                hash = GuestHash.Add(hash, bits);
            }
        }
        return hash != block->GuestHash;
    }
}
