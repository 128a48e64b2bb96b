using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.Machine;

// What is left for fence.i. A store of another hart may have looked its page up before that was protected, and come to pass after the page was translated: a
// processor may rest between the two for as long as the host likes. Until each hart has been in the dispatcher since, a fence compares the page's blocks
// with what is in memory; the hart that stored has reached its own fence, or its call for one of others, through the dispatcher.
public sealed unsafe partial class MachineEngine
{
    private const int ManyUnsettled = 512;

    /// <summary>A page that was marked as code.</summary>
    private struct Unsettled
    {
        public ulong Page;

        /// <summary>Harts that have been in the dispatcher at this epoch store to it with everybody's knowledge; <see cref="long.MaxValue"/> while it is being
        /// protected.</summary>
        public long Epoch;
    }

    private readonly List<Unsettled> _unsettled = []; // under _lock

    /// <summary>From now on the first store to a page drops its blocks.</summary>
    private void Protect(ulong page)
    {
        if (Volatile.Read(ref _isCode[page]) != 0) return;
        HartCode[] harts = Volatile.Read(ref _harts);
        bool alone = harts.Length == 1;
        bool many = false;
        if (!alone)
        {
            // In the list before others can see the mark, and translate.
            lock (_lock) _unsettled.Add(new Unsettled { Page = page, Epoch = long.MaxValue });
        }
        Volatile.Write(ref _isCode[page], 1);
        Interlocked.MemoryBarrier();
        foreach (HartCode hart in harts) hart.Unit.ProtectStores(page << 12);
        if (alone) return;
        long epoch = Interlocked.Increment(ref _epoch);
        lock (_lock)
        {
            for (int i = _unsettled.Count - 1; i >= 0; i--)
            {
                if (_unsettled[i].Page != page || _unsettled[i].Epoch != long.MaxValue) continue;
                _unsettled[i] = new Unsettled { Page = page, Epoch = epoch };
                break;
            }
            many = _unsettled.Count % ManyUnsettled == 0;
        }
        if (many) Settle(null, kick: true);
    }

    /// <summary><c>fence.i</c> of a hart, on its thread (also on behalf of another one): what it executes from now on is what it can see in memory.</summary>
    private void FenceInstructions(HartCode code)
    {
        // Whoever puts a page into the list after this reads it after that: and so sees what this hart must.
        Interlocked.MemoryBarrier();
        if (_unsettled.Count != 0) Settle(code, kick: false);
    }

    /// <summary>Drops the blocks of unsettled pages that are not what memory holds, and forgets the pages that every hart has left alone since.</summary>
    /// <param name="fencing">The hart that fences, whose own stores are done.</param>
    /// <param name="kick">Harts that have been in translated code for long are asked to the dispatcher, so that the next time finds more.</param>
    private void Settle(HartCode? fencing, bool kick)
    {
        long passed = long.MaxValue;
        foreach (HartCode hart in Volatile.Read(ref _harts))
        {
            if (hart == fencing) continue;
            long epoch = Volatile.Read(ref hart.Epoch);
            if (epoch == 0) continue;
            passed = Math.Min(passed, epoch);
            if (!kick || epoch >= Volatile.Read(ref _epoch)) continue;
            hart.Presence.Leave();
            hart.Host?.Kick();
        }
        Span<byte> bytes = stackalloc byte[4096];
        lock (_lock)
        {
            _generation++; // what is being translated may have been read too early
            int kept = 0;
            for (int i = 0; i < _unsettled.Count; i++)
            {
                Unsettled one = _unsettled[i];
                DropChanged(one.Page, bytes);
                if (one.Epoch > passed || one.Epoch == long.MaxValue) _unsettled[kept++] = one;
            }
            _unsettled.RemoveRange(kept, _unsettled.Count - kept);
        }
    }

    private void DropChanged(ulong page, Span<byte> bytes)
    {
        DropChangedRegions(page);
        if (!_pages.TryGetValue(page, out nint head)) return;
        if (_bus.Ram.Read(page << 12, bytes) != bytes.Length) return;
        bool any = false;
        for (var block = (BlockHeader*)head; block != null; block = block->NextInPage0)
        {
            if (block->Dead != 0 || IsMadeOf(block, bytes)) continue;
            Kill(block);
            any = true;
        }
        if (any) ForgetDead(page);
    }

    private static bool IsMadeOf(BlockHeader* block, ReadOnlySpan<byte> page)
    {
        ulong hash = GuestHash.Start;
        for (int i = 0; i < block->RunCount; i++)
        {
            int at = (int)(block->Runs[i].Start & 4095), end = at + block->Runs[i].Length;
            if (end > page.Length) return false;
            while (at < end)
            {
                uint bits = (uint)(page[at] | page[at + 1] << 8);
                if ((bits & 3) == 3)
                {
                    if (at + 4 > end) return false;
                    bits |= (uint)(page[at + 2] << 16 | page[at + 3] << 24);
                    at += 2;
                }
                at += 2;
                hash = GuestHash.Add(hash, bits);
            }
        }
        return hash == block->GuestHash;
    }
}
