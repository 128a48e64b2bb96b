namespace Vivarium.Translation.Cache;

/// <summary>Jumps from block to block, as both kinds of engine keep them. Under the engine's lock.</summary>
internal static unsafe class BlockLinks
{
    /// <summary>The exit leads to the block from now on, as far as the lists know.</summary>
    public static void AddIncoming(BlockHeader* target, ExitRecord* exit)
    {
        exit->LinkedTo = target;
        exit->PreviousIncoming = null;
        exit->NextIncoming = target->Incoming;
        if (target->Incoming != null) target->Incoming->PreviousIncoming = exit;
        target->Incoming = exit;
    }

    /// <summary>Patches an exit to jump straight to a block: its own loop entry for a loop's back edge.</summary>
    public static void Link(ExitRecord* exit, BlockHeader* target, Statistics statistics)
    {
        AddIncoming(target, exit);
        Patch(exit, exit->Kind == 1 && exit->Owner == target ? target->LoopEntry : target->Entry);
        statistics.Links++;
    }

    /// <summary>The exit leads to the dispatcher again.</summary>
    public static void Unlink(ExitRecord* exit, Statistics statistics)
    {
        BlockHeader* target = exit->LinkedTo;
        if (target == null) return;
        Patch(exit, exit->Stub);
        if (exit->PreviousIncoming != null) exit->PreviousIncoming->NextIncoming = exit->NextIncoming;
        else target->Incoming = exit->NextIncoming;
        if (exit->NextIncoming != null) exit->NextIncoming->PreviousIncoming = exit->PreviousIncoming;
        exit->LinkedTo = null;
        statistics.Unlinks++;
    }

    /// <summary>The loops of blocks whose place a region has taken come to the dispatcher with their next rounds, and so to the region.</summary>
    public static void UnlinkLoops(BlockHeader* region, Statistics statistics)
    {
        for (BlockHeader* way = region; way != null; way = way->NextWay)
        {
            BlockHeader* block = way->Fallback;
            if (block == null) continue; // another region has that way
            for (int i = 0; i < block->ExitCount; i++)
            {
                if (block->Exits[i].Kind == 1) Unlink(block->Exits + i, statistics);
            }
        }
    }

    /// <summary>What an exit that control took to <paramref name="target"/> may be linked to; null where to nothing.</summary>
    public static BlockHeader* TargetOf(ExitRecord* exit, BlockHeader* target)
    {
        if (exit->Kind == TranslationEngine.RegionRefusal) return exit->Owner->Fallback;
        if (exit->Kind != 1 || exit->Owner == target) return target;
        // A loop's back edge, with the loop's own register mapping: to the loop itself while the region that has its place is set aside.
        return exit->Owner->Overlay == target && Volatile.Read(ref target->Primary->Aside) != 0 ? exit->Owner : null;
    }

    /// <summary>All ways into a block and out of it lead to the dispatcher.</summary>
    public static void Isolate(BlockHeader* block, Statistics statistics)
    {
        while (block->Incoming != null) Unlink(block->Incoming, statistics);
        UnlinkExits(block, statistics);
    }

    /// <summary>All ways out of a block lead to the dispatcher: a thread inside is to come there.</summary>
    public static void UnlinkExits(BlockHeader* block, Statistics statistics)
    {
        for (int i = 0; i < block->ExitCount; i++) Unlink(block->Exits + i, statistics);
    }

    /// <summary>Points an exit's jump at a host address; lists stay as they are.</summary>
    public static void Patch(ExitRecord* exit, ulong destination)
    {
        // SAFETY: the field is the aligned displacement of a jump in committed code memory; other threads that execute the jump
        // meanwhile see the old or the new displacement whole.
        Volatile.Write(ref *(int*)exit->Field, (int)(destination - (exit->Field + 4)));
    }
}
