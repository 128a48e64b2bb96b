using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;

namespace Vivarium.Translation;

// From the quick path to the full pipeline: a block that has counted its runs comes here before it runs again.
public sealed unsafe partial class TranslationEngine
{
    /// <summary>The block whose counter has run out gets its full translation; pc is at its head afterwards.</summary>
    private void Promote(MemoryWindow memory, ref HartState state)
    {
        // The thread holds no other address of translated code than this one, and only until the block's pc is known.
        BlockHeader* block = _cache.Find(state.Engine[EngineSlots.ExitInfo] - 1);
        if (block == null || block->Counter == null) throw new InvalidOperationException("a block that is not quick has asked for the full pipeline");
        ulong pc = state.Pc = block->GuestPc;
        if (block->Dead != 0) return; // somebody else was faster
        Translate(memory, pc, full: true);
        block = _blocks.Find(pc);
        // No room: another few rounds with what there is.
        if (block != null && block->Counter != null && Volatile.Read(ref *block->Counter) < 0) Volatile.Write(ref *block->Counter, Math.Min(_options.QuickRuns, 1000) - 1);
    }

    /// <summary>Puts a block in the place of a quick one (<see cref="_lock"/> is held). Threads inside that one leave at its exits.</summary>
    private void Replace(BlockHeader* quick, BlockHeader* block)
    {
        quick->Dead = 1;
        Statistics.Promotions++;
        _blocks.Remove(quick);
        _blocks.Add(block);
        if (_jumpTable.Find(quick->GuestPc) == quick->Entry) _jumpTable.Set(block->GuestPc, block->Entry);
        bool mayLink = Volatile.Read(ref _kicked) == 0; // as in Link
        while (quick->Incoming != null)
        {
            ExitRecord* exit = quick->Incoming;
            Unlink(exit);
            if (mayLink && exit->Owner->Dead == 0) BlockLinks.Link(exit, block, Statistics);
        }
        BlockLinks.UnlinkExits(quick, Statistics);
    }
}
