using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Devices;

/// <summary>
/// The goldfish real-time clock (compatible <c>google,goldfish-rtc</c>): nanoseconds since the epoch in two 32-bit halves (reading the low one
/// latches the high one), an alarm with an interrupt. The guest may set the time; it keeps an offset to the host's clock.
/// </summary>
public sealed class GoldfishRtc : IMmioDevice, IStateful, IDisposable
{
    public const ulong Size = 0x1000;

    private const ulong TimeLow = 0x00;
    private const ulong TimeHigh = 0x04;
    private const ulong AlarmLow = 0x08;
    private const ulong AlarmHigh = 0x0c;
    private const ulong IrqEnabled = 0x10;
    private const ulong ClearAlarm = 0x14;
    private const ulong AlarmStatus = 0x18;
    private const ulong ClearInterrupt = 0x1c;

    private readonly Lock _lock = new();
    private readonly IInterruptLine _line;
    private readonly TimeProvider _time;
    private readonly ITimer _timer;
    private ulong _offset;
    private uint _latchedHigh;
    private uint _writtenTimeHigh;
    private uint _alarmHigh;
    private ulong _alarm;
    private bool _alarmRunning;
    private bool _irqEnabled;
    private bool _irqPending;

    public GoldfishRtc(IInterruptLine line, TimeProvider? time = null)
    {
        _line = line;
        _time = time ?? TimeProvider.System;
        _timer = _time.CreateTimer(_ => AlarmDue(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public string SectionName => "rtc";

    public ulong Read(ulong offset, int size)
    {
        lock (_lock)
        {
            switch (offset)
            {
                case TimeLow:
                    ulong now = Now();
                    _latchedHigh = (uint)(now >> 32);
                    return (uint)now;
                case TimeHigh:
                    return _latchedHigh;
                case AlarmLow:
                    return (uint)_alarm;
                case AlarmHigh:
                    return (uint)(_alarm >> 32);
                case IrqEnabled:
                    return _irqEnabled ? 1u : 0;
                case AlarmStatus:
                    return _alarmRunning ? 1u : 0;
                default:
                    return 0;
            }
        }
    }

    public void Write(ulong offset, int size, ulong value)
    {
        lock (_lock)
        {
            switch (offset)
            {
                case TimeLow: // the high half comes first
                    _offset += ((ulong)_writtenTimeHigh << 32 | (uint)value) - Now();
                    Schedule();
                    break;
                case TimeHigh:
                    _writtenTimeHigh = (uint)value;
                    break;
                case AlarmLow:
                    _alarm = (ulong)_alarmHigh << 32 | (uint)value;
                    _alarmRunning = true;
                    Schedule();
                    break;
                case AlarmHigh:
                    _alarmHigh = (uint)value;
                    break;
                case IrqEnabled:
                    _irqEnabled = (value & 1) != 0;
                    Update();
                    break;
                case ClearAlarm:
                    _alarmRunning = false;
                    Schedule();
                    break;
                case ClearInterrupt:
                    _irqPending = false;
                    Update();
                    break;
            }
        }
    }

    public void Save(StateWriter writer)
    {
        lock (_lock)
        {
            writer.Write(_offset);
            writer.Write(_latchedHigh);
            writer.Write(_writtenTimeHigh);
            writer.Write(_alarmHigh);
            writer.Write(_alarm);
            writer.Write(_alarmRunning);
            writer.Write(_irqEnabled);
            writer.Write(_irqPending);
        }
    }

    public void Load(StateReader reader)
    {
        lock (_lock)
        {
            _offset = reader.ReadUInt64();
            _latchedHigh = reader.ReadUInt32();
            _writtenTimeHigh = reader.ReadUInt32();
            _alarmHigh = reader.ReadUInt32();
            _alarm = reader.ReadUInt64();
            _alarmRunning = reader.ReadBool();
            _irqEnabled = reader.ReadBool();
            _irqPending = reader.ReadBool();
            Schedule();
            Update();
        }
    }

    public void Dispose() => _timer.Dispose();

    private ulong Now() => (ulong)(_time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * 100 + _offset;

    private void AlarmDue()
    {
        lock (_lock)
            Schedule();
    }

    private void Schedule()
    {
        if (!_alarmRunning)
        {
            _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            return;
        }

        ulong now = Now();
        if (_alarm <= now)
        {
            _alarmRunning = false;
            _irqPending = true;
            Update();
            return;
        }

        // At most a day at a time: the guest may have asked for the year 2500. A millisecond more, so as not to wake too early.
        ulong milliseconds = Math.Min((_alarm - now) / 1_000_000 + 1, 86_400_000);
        _timer.Change(TimeSpan.FromMilliseconds(milliseconds), Timeout.InfiniteTimeSpan);
    }

    private void Update() => _line.Set(_irqEnabled && _irqPending);
}
