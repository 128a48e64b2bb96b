using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Translation;

// Where indirect jumps lead, and which ways branches go. When a region cannot grow past one, a thread that runs guest code is asked to execute a few thousand instructions in the reference
// interpreter, which costs it some 0.5 ms once, and notes each indirect jump's target, each branch's outcome, and what was called.
public sealed unsafe partial class TranslationEngine
{
    private const int ObservedInstructions = 10_000, MaxObservations = 40, EnoughSeen = 2000, MaxTargets = 256;

    private readonly Dictionary<ulong, Dictionary<ulong, int>> _targets = []; // locked by itself
    private readonly Dictionary<ulong, (int Taken, int Fallen)> _branches = []; // guarded by _targets
    private readonly SortedSet<ulong> _functions = []; // guarded by _targets
    private const int MaxFunctionBytes = 8192, MaxFunctions = 3;
    private const int ManyBranches = 4;
    private readonly HashSet<ulong> _profiled = []; // heads of regions; guarded by _targets
    private int _observations, _toObserve;

    /// <summary>What was seen of the jump at <paramref name="pc"/>, most frequent first; empty where nothing was, or more than a region can hold. What is rare
    /// is left out.</summary>
    internal ulong[] TargetsOf(ulong pc)
    {
        lock (_targets)
        {
            if (!_targets.TryGetValue(pc, out Dictionary<ulong, int>? seen) || seen.Count > MaxTargets) return [];
            int all = seen.Values.Sum();
            return [.. seen.Where(t => t.Value * 1000 >= all).OrderByDescending(t => t.Value).ThenBy(t => t.Key).Select(t => t.Key)];
        }
    }

    /// <summary>How often the branch at <paramref name="pc"/> was seen to be taken and not to be.</summary>
    internal (int Taken, int Fallen) BranchAt(ulong pc)
    {
        lock (_targets) return _branches.GetValueOrDefault(pc);
    }

    /// <summary>Functions that were seen to be called and in which <paramref name="pc"/> may lie, the nearest first.</summary>
    internal ulong[] FunctionsAround(ulong pc)
    {
        lock (_targets) return [.. _functions.GetViewBetween(pc < MaxFunctionBytes ? 0 : pc - MaxFunctionBytes, pc).Reverse().Take(MaxFunctions)];
    }

    /// <summary>Asks the threads in guest code to note where indirect jumps lead. False where that was done often enough.</summary>
    internal bool ObserveTargets()
    {
        if (Interlocked.Increment(ref _observations) > MaxObservations) return false;
        Volatile.Write(ref _toObserve, 1);
        lock (_slots)
        {
            foreach (RunSlot slot in _slots)
            {
                if (Volatile.Read(ref slot.Epoch) == 0) continue;
                slot.Leave();
                slot.Host.Kick();
            }
        }
        return true;
    }

    /// <summary>See <see cref="Optimizing.IRegionEngine.ObserveMore"/>.</summary>
    internal bool ObserveMore(Optimizing.Regions.GuestRegion region)
    {
        int seen = 0, targets = 0, branches = 0, unseen = 0;
        bool asks = false;
        lock (_targets)
        {
            foreach (Optimizing.Regions.RegionBlock block in region.Blocks)
            {
                if (block is { Flow: Optimizing.Regions.RegionFlow.Branch, Next.Block: not null, Taken.Block: not null })
                {
                    branches++;
                    if (block.Seen == default) unseen++;
                }
                if (block.Cases.Length < 2 || !_targets.TryGetValue(block.Instructions[^1].Pc, out Dictionary<ulong, int>? counts)) continue;
                targets = Math.Max(targets, block.Cases.Length);
                seen += counts.Values.Sum();
            }
            // Once for a region: what is likely decides where the code lies and what stays in registers.
            if (branches >= ManyBranches && unseen * 2 > branches) asks = _profiled.Add(region.Head);
        }
        return ((targets > 3 && seen < EnoughSeen) || asks) && ObserveTargets();
    }

    /// <summary>The next instructions in the interpreter; null when all of them were executed.</summary>
    private ExecutionExit? InterpretAndObserve(Hart hart, ref HartState state)
    {
        // One thread does it, the others go on.
        if (Interlocked.Exchange(ref _toObserve, 0) == 0) return null;
        Span<byte> bytes = stackalloc byte[4];
        var found = new List<(ulong Pc, ulong Target)>();
        var branches = new List<(ulong Pc, bool Taken)>();
        var called = new HashSet<ulong>();
        ExecutionExit? exit = null;
        for (int n = 0; n < ObservedInstructions && exit == null; n++)
        {
            if (Volatile.Read(ref state.ExitRequest) != 0) break;
            ulong pc = state.Pc;
            int length = hart.Memory.Read(pc, bytes);
            uint bits = length >= 2 ? (uint)(bytes[0] | bytes[1] << 8) : 0;
            // jalr; c.jr and c.jalr are 100xrrrrr00000 10.
            if ((bits & 0x707F) == 0x100F) break; // fence.i is the translator's to execute
            bool indirect = (bits & 0x7F) == 0x67 || ((bits & 0xE07F) == 0x8002 && (bits & 0xF80) != 0);
            bool branch = (bits & 0x7F) == 0x63 || (bits & 0xC003) == 0xC001; // c.beqz and c.bnez are 11xxx 01
            // jal and jalr with ra; c.jalr
            bool call = (bits & 0xFFF) is 0xEF or 0xE7 || ((bits & 0xF003) == 0x9002 && (bits & 0xFFC) is not 0 && (bits & 0x7C) == 0);
            exit = Interpret(hart, ref state);
            if (call && exit == null) called.Add(state.Pc);
            if (indirect && exit == null) found.Add((pc, state.Pc));
            else if (branch && exit == null) branches.Add((pc, state.Pc != pc + ((bits & 3) == 3 ? 4UL : 2)));
        }
        lock (_targets)
        {
            foreach ((ulong pc, ulong target) in found)
            {
                if (!_targets.TryGetValue(pc, out Dictionary<ulong, int>? seen)) _targets.Add(pc, seen = []);
                if (seen.Count <= MaxTargets) seen[target] = seen.GetValueOrDefault(target) + 1;
            }
            _functions.UnionWith(called);
            foreach ((ulong pc, bool taken) in branches)
            {
                (int Taken, int Fallen) was = _branches.GetValueOrDefault(pc);
                _branches[pc] = taken ? (was.Taken + 1, was.Fallen) : (was.Taken, was.Fallen + 1);
            }
        }
        return exit;
    }
}
