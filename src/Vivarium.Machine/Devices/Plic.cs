using System.Numerics;
using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Devices;

/// <summary>
/// The platform-level interrupt controller (RISC-V PLIC specification 1.0): level-triggered sources with a priority each, and contexts (machine
/// and supervisor mode of every hart) with enable bits, a threshold, and a claim/complete register. A gateway forwards a source once: it
/// becomes pending again only after its completion, when its wire is still (or again) high. A source may also report events: one that comes while the
/// source is served is remembered until the completion.
/// </summary>
/// <remarks>Lock order: a device's lock, then this one's. The contexts' lines are set under the lock, so that they never go back in time.</remarks>
public sealed class Plic : IMmioDevice, IStateful
{
    public const ulong Size = 0x400_0000;
    public const int SourceCount = 96; // source 0 does not exist
    public const uint MaximumPriority = 7;

    private const int Words = SourceCount / 32;
    private const ulong PendingBase = 0x1000;
    private const ulong EnableBase = 0x2000;
    private const ulong EnableStride = 0x80;
    private const ulong ContextBase = 0x20_0000;
    private const ulong ContextStride = 0x1000;

    private readonly Lock _lock = new();
    private readonly IInterruptLine[] _contexts;
    private readonly uint[] _priority = new uint[SourceCount];
    private readonly uint[] _level = new uint[Words];
    private readonly uint[] _pending = new uint[Words];
    private readonly uint[] _inService = new uint[Words];
    private readonly uint[] _events = new uint[Words]; // came while in service
    private readonly uint[] _enable;
    private readonly uint[] _threshold;
    private readonly bool[] _asserted;

    /// <param name="contexts">The wire to a hart's mode for each context, in the order of the device tree's <c>interrupts-extended</c>.</param>
    public Plic(IReadOnlyList<IInterruptLine> contexts)
    {
        _contexts = [.. contexts];
        _enable = new uint[_contexts.Length * Words];
        _threshold = new uint[_contexts.Length];
        _asserted = new bool[_contexts.Length];
    }

    public string SectionName => "plic";

    /// <summary>2 adds events.</summary>
    public int SectionVersion => 2;

    /// <summary>The wire of a source.</summary>
    /// <param name="source">1 to <see cref="SourceCount"/> - 1.</param>
    public IInterruptLine Line(int source)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(source, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(source, SourceCount);
        return new SourceLine(this, source);
    }

    /// <summary>The events of a source, beside its wire.</summary>
    /// <param name="source">1 to <see cref="SourceCount"/> - 1.</param>
    public IEventLine Events(int source) => (SourceLine)Line(source);

    public ulong Read(ulong offset, int size)
    {
        if (size < 4 || (offset & 3) != 0)
            return 0;
        lock (_lock)
        {
            if (offset < PendingBase)
                return offset / 4 < SourceCount ? _priority[offset / 4] : 0;
            if (offset < EnableBase)
                return (offset - PendingBase) / 4 is var word && word < Words ? _pending[word] : 0;
            if (offset < ContextBase)
                return EnableIndex(offset) is >= 0 and int i ? _enable[i] : 0;
            ulong context = (offset - ContextBase) / ContextStride;
            if (context >= (ulong)_contexts.Length)
                return 0;
            return ((offset - ContextBase) % ContextStride) switch
            {
                0 => _threshold[context],
                4 => Claim((int)context),
                _ => 0,
            };
        }
    }

    public void Write(ulong offset, int size, ulong value)
    {
        if (size < 4 || (offset & 3) != 0)
            return;
        lock (_lock)
        {
            if (offset < PendingBase)
            {
                if (offset / 4 is > 0 and < SourceCount)
                    _priority[offset / 4] = (uint)value & MaximumPriority;
            }
            else if (offset < EnableBase)
            {
                return; // pending bits are read-only
            }
            else if (offset < ContextBase)
            {
                if (EnableIndex(offset) is >= 0 and int i)
                    _enable[i] = (uint)value & (i % Words == 0 ? ~1u : ~0u);
            }
            else
            {
                ulong context = (offset - ContextBase) / ContextStride;
                if (context >= (ulong)_contexts.Length)
                    return;
                switch ((offset - ContextBase) % ContextStride)
                {
                    case 0:
                        _threshold[context] = (uint)value & MaximumPriority;
                        break;
                    case 4:
                        Complete((int)context, (uint)value);
                        break;
                    default:
                        return;
                }
            }

            UpdateContexts();
        }
    }

    public void Save(StateWriter writer)
    {
        lock (_lock)
        {
            writer.WriteWords(_priority);
            writer.WriteWords(_level);
            writer.WriteWords(_pending);
            writer.WriteWords(_inService);
            writer.WriteWords(_events);
            writer.WriteWords(_enable);
            writer.WriteWords(_threshold);
        }
    }

    public void Load(StateReader reader)
    {
        lock (_lock)
        {
            reader.ReadWords(_priority);
            reader.ReadWords(_level);
            reader.ReadWords(_pending);
            reader.ReadWords(_inService);
            reader.ReadWords(_events);
            reader.ReadWords(_enable);
            reader.ReadWords(_threshold);
            for (int i = 0; i < _contexts.Length; i++)
                _contexts[i].Set(_asserted[i] = BestSource(i) != 0);
        }
    }

    private static int WordOf(int source) => source >> 5;

    private static uint BitOf(int source) => 1u << (source & 31);

    /// <summary>Index into the enable words, or -1 outside of them.</summary>
    private int EnableIndex(ulong offset)
    {
        ulong context = (offset - EnableBase) / EnableStride;
        ulong word = (offset - EnableBase) % EnableStride / 4;
        return context < (ulong)_contexts.Length && word < Words ? (int)context * Words + (int)word : -1;
    }

    private void SetLevel(int source, bool asserted)
    {
        int word = WordOf(source);
        uint bit = BitOf(source);
        lock (_lock)
        {
            if (asserted == ((_level[word] & bit) != 0))
                return;
            _level[word] ^= bit;
            if (!asserted || (_inService[word] & bit) != 0 || (_pending[word] & bit) != 0)
                return;
            _pending[word] |= bit;
            UpdateContexts();
        }
    }

    private void RaiseEvent(int source)
    {
        int word = WordOf(source);
        uint bit = BitOf(source);
        lock (_lock)
        {
            if ((_inService[word] & bit) != 0)
            {
                _events[word] |= bit;
                return;
            }
            if ((_pending[word] & bit) != 0)
                return;
            _pending[word] |= bit;
            UpdateContexts();
        }
    }

    private void WithdrawEvent(int source)
    {
        lock (_lock)
            _events[WordOf(source)] &= ~BitOf(source);
    }

    private uint Claim(int context)
    {
        int source = BestSource(context, threshold: 0); // the threshold masks the notification, not the claim
        if (source == 0)
            return 0;
        _pending[WordOf(source)] &= ~BitOf(source);
        _inService[WordOf(source)] |= BitOf(source);
        UpdateContexts();
        return (uint)source;
    }

    private void Complete(int context, uint source)
    {
        // Completing what the context has not enabled is ignored (section 9 of the specification).
        if (source is 0 or >= SourceCount || (_enable[context * Words + WordOf((int)source)] & BitOf((int)source)) == 0)
            return;
        int word = WordOf((int)source);
        uint bit = BitOf((int)source);
        if ((_inService[word] & bit) == 0)
            return;
        _inService[word] &= ~bit;
        _pending[word] |= (_level[word] | _events[word]) & bit;
        _events[word] &= ~bit;
    }

    /// <summary>The pending source that a context would claim: the highest priority above the threshold, then the lowest number; or 0.</summary>
    private int BestSource(int context) => BestSource(context, _threshold[context]);

    private int BestSource(int context, uint threshold)
    {
        int best = 0;
        uint bestPriority = threshold;
        for (int word = 0; word < Words; word++)
        {
            for (uint bits = _pending[word] & _enable[context * Words + word]; bits != 0; bits &= bits - 1)
            {
                int source = word * 32 + BitOperations.TrailingZeroCount(bits);
                if (_priority[source] > bestPriority)
                    (best, bestPriority) = (source, _priority[source]);
            }
        }

        return best;
    }

    private void UpdateContexts()
    {
        for (int i = 0; i < _contexts.Length; i++)
        {
            bool asserted = BestSource(i) != 0;
            if (asserted == _asserted[i])
                continue;
            _asserted[i] = asserted;
            _contexts[i].Set(asserted);
        }
    }

    private sealed class SourceLine(Plic plic, int source) : IInterruptLine, IEventLine
    {
        public void Set(bool asserted) => plic.SetLevel(source, asserted);

        public void Raise() => plic.RaiseEvent(source);

        public void Withdraw() => plic.WithdrawEvent(source);
    }
}
