using System.Numerics;
using Vivarium.Machine.Harts;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Firmware;

/// <summary>
/// PMU (SBI 2.0, chapter 11). Counter 0 is <c>cycle</c> (nanoseconds), counter 2 <c>instret</c>, 1 does not exist; behind them are counters of
/// <see cref="FirmwareEvent"/>s. Sampling needs Sscofpmf, which harts do not have; nor is there a snapshot in shared memory.
/// </summary>
/// <remarks>A hart uses only its own counters, on its own thread.</remarks>
public sealed class PerformanceMonitoringExtension : ISbiExtension, IStateful
{
    private const int Cycle = 0, Instret = 2, FirstFirmware = 3, FirmwareCounters = 16, Counters = FirstFirmware + FirmwareCounters;
    private const ulong AllCounters = (1ul << Counters) - 1 & ~2ul; // without the place of time
    private const int CycleCsr = 0xc00, McycleCsr = 0xb00, McountinhibitCsr = 0x320;
    private const ulong FirmwareCounter = 1ul << 63, Width = 63ul << 12;
    private const ulong SkipMatch = 1, ClearValue = 2, AutoStart = 4; // flags of config_matching
    private const ulong SetInitialValue = 1, Reset = 1; // flags of start and of stop
    private const uint Nothing = uint.MaxValue;

    private readonly FirmwareEvents _events;
    private readonly Counter[][] _counters;

    private struct Counter
    {
        public uint Event; // event_idx, or Nothing
        public bool Runs;
        public ulong Value; // a firmware counter that runs: its event's count is added
    }

    public PerformanceMonitoringExtension(IReadOnlyList<MachineHart> harts, FirmwareEvents events)
    {
        _events = events;
        _counters = [.. harts.Select(_ => Enumerable.Repeat(new Counter { Event = Nothing }, Counters).ToArray())];
    }

    public uint Id => 0x504D55;

    public string SectionName => "pmu";

    public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments)
    {
        switch (function)
        {
            case 0:
                return SbiResult.Ok(Counters);
            case 1:
                return Exists(arguments[0]) ? SbiResult.Ok(arguments[0] >= FirstFirmware ? FirmwareCounter : Width | CycleCsr + arguments[0]) : SbiError.InvalidParameter;
            case 2:
                return TryMask(arguments, out ulong candidates) ? Configure(hart, candidates, arguments[2], arguments[3]) : SbiError.InvalidParameter;
            case 3:
                return TryMask(arguments, out ulong starting) ? ForEach(starting, i => Start(hart, i, (arguments[2] & SetInitialValue) != 0 ? arguments[3] : null)) : SbiError.InvalidParameter;
            case 4:
                return TryMask(arguments, out ulong stopping) ? ForEach(stopping, i => Stop(hart, i, (arguments[2] & Reset) != 0)) : SbiError.InvalidParameter;
            case 5 or 6:
                if (!Exists(arguments[0]) || arguments[0] < FirstFirmware)
                    return SbiError.InvalidParameter;
                return SbiResult.Ok(function == 5 ? Read(hart, (int)arguments[0]) : 0); // the upper half is for RV32
            default:
                return SbiError.NotSupported;
        }
    }

    public void Save(StateWriter writer)
    {
        writer.Write(_counters.Length);
        for (int hart = 0; hart < _counters.Length; hart++)
        {
            foreach (ref var counter in _counters[hart].AsSpan())
            {
                writer.Write(counter.Event);
                writer.Write(counter.Runs);
                writer.Write(Value(hart, counter)); // the events' own counts begin anew
            }
        }
    }

    public void Load(StateReader reader)
    {
        if (reader.ReadInt32() != _counters.Length)
            throw new StateException($"section '{reader.Section}' is of another number of harts");
        for (int hart = 0; hart < _counters.Length; hart++)
        {
            foreach (ref var counter in _counters[hart].AsSpan())
            {
                counter.Event = reader.ReadUInt32();
                if (counter.Event != Nothing && counter.Event >> 16 is not (0 or 15))
                    throw new StateException($"section '{reader.Section}' counts an event that there is not");
                counter.Runs = reader.ReadBool();
                counter.Value = reader.ReadUInt64() - Events(hart, counter);
            }
        }
    }

    private static bool Exists(ulong index) => index < Counters && (AllCounters >> (int)index & 1) != 0;

    private static bool TryMask(SbiArguments arguments, out ulong mask)
    {
        mask = 0;
        if (arguments[0] >= Counters)
            return false;
        mask = arguments[1] << (int)arguments[0];
        return mask != 0 && mask >> (int)arguments[0] == arguments[1] && (mask & ~AllCounters) == 0;
    }

    private static SbiError ForEach(ulong mask, Func<int, SbiError> action)
    {
        var result = SbiError.Success;
        for (; mask != 0; mask &= mask - 1)
        {
            var error = action(BitOperations.TrailingZeroCount(mask));
            if (result == SbiError.Success)
                result = error;
        }

        return result;
    }

    /// <summary>The counters that can count an event.</summary>
    private static ulong For(MachineHart hart, ulong @event) => (@event >> 16, @event & 0xffff) switch
    {
        (0, 1) => 1ul << Cycle,
        (0, 2) when hart.Core.Executor.CountsInstructions => 1ul << Instret,
        (15, < FirmwareEvents.Kinds) => AllCounters & ~0ul << FirstFirmware,
        _ => 0,
    };

    private SbiResult Configure(MachineHart hart, ulong candidates, ulong flags, ulong @event)
    {
        var counters = _counters[hart.Id];
        ulong able = For(hart, @event);
        if (able == 0)
            return SbiError.NotSupported;
        int chosen;
        if ((flags & SkipMatch) != 0)
        {
            // The first of the set, which was matched before.
            chosen = BitOperations.TrailingZeroCount(candidates);
            if ((able >> chosen & 1) == 0 || counters[chosen].Event == Nothing)
                return SbiError.InvalidParameter;
        }
        else
        {
            for (able &= candidates; able != 0 && counters[BitOperations.TrailingZeroCount(able)].Event != Nothing;)
                able &= able - 1;
            if (able == 0)
                return SbiError.NotSupported;
            chosen = BitOperations.TrailingZeroCount(able);
        }

        if (counters[chosen].Runs)
            Stop(hart, chosen, reset: false);
        counters[chosen].Event = (uint)@event;
        if ((flags & ClearValue) != 0)
            Set(hart, chosen, 0);
        if ((flags & AutoStart) != 0)
            Start(hart, chosen, null);
        return SbiResult.Ok((ulong)chosen);
    }

    private SbiError Start(MachineHart hart, int index, ulong? value)
    {
        ref var counter = ref _counters[hart.Id][index];
        if (counter.Event == Nothing)
            return SbiError.InvalidParameter;
        if (counter.Runs)
            return SbiError.AlreadyStarted;
        if (value is { } initial)
            Set(hart, index, initial);
        ulong now = Value(hart.Id, counter);
        counter.Runs = true;
        counter.Value = now - Events(hart.Id, counter);
        Inhibit(hart, index, false);
        return SbiError.Success;
    }

    private SbiError Stop(MachineHart hart, int index, bool reset)
    {
        ref var counter = ref _counters[hart.Id][index];
        bool ran = counter.Runs;
        counter.Value = Value(hart.Id, counter);
        counter.Runs = false;
        Inhibit(hart, index, true);
        if (reset)
            counter.Event = Nothing;
        return ran ? SbiError.Success : SbiError.AlreadyStopped;
    }

    private ulong Read(MachineHart hart, int index) => Value(hart.Id, _counters[hart.Id][index]);

    private ulong Value(int hart, in Counter counter) => counter.Value + Events(hart, counter);

    private ulong Events(int hart, in Counter counter) =>
        counter.Runs && counter.Event >> 16 == 15 && (counter.Event & 0xffff) < FirmwareEvents.Kinds ? _events[hart, (FirmwareEvent)(counter.Event & 0xffff)] : 0;

    private void Set(MachineHart hart, int index, ulong value)
    {
        if (index < FirstFirmware)
        {
            hart.Unit.WriteCsr(McycleCsr + index, value);
            return;
        }

        ref var counter = ref _counters[hart.Id][index];
        counter.Value = value - Events(hart.Id, counter);
    }

    private static void Inhibit(MachineHart hart, int index, bool stops)
    {
        if (index >= FirstFirmware)
            return;
        ulong inhibited = hart.Unit.ReadCsr(McountinhibitCsr), bit = 1ul << index;
        hart.Unit.WriteCsr(McountinhibitCsr, stops ? inhibited | bit : inhibited & ~bit);
    }
}
