using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Devices;

/// <summary>Where a serial port's bytes go.</summary>
public interface ISerialBackEnd
{
    /// <summary>Takes a byte that the guest sent. Called on hart threads with the port's lock held; may wait when the host does not keep up.</summary>
    void Transmit(byte value);
}

/// <summary>
/// A 16550A serial port (compatible <c>ns16550a</c>, byte registers without gaps). Transmission takes no time: the transmitter is always empty.
/// The receiver's FIFO is followed by a longer queue, so that pasted text is not lost; there is never an overrun.
/// </summary>
/// <remarks>On a real one the transmitter stays busy for long enough that a driver which never reads IIR gets on between two of its interrupts. Here it is never
/// busy, and such a driver would see its interrupt again before each instruction. So the transmitter reports that it is empty as an event of each byte.</remarks>
public sealed class Uart16550 : IMmioDevice, IStateful, IConsolePort
{
    public const ulong Size = 0x100;

    /// <summary>Input that waits for the guest, in bytes; <see cref="Receive"/> takes no more.</summary>
    public const int QueueCapacity = 4096;

    private const int HoldBack = 16;
    private const byte IerReceive = 1, IerTransmit = 2, IerLineStatus = 4, IerModem = 8;
    private const byte IirNone = 1, IirTransmit = 2, IirReceive = 4, IirTimeout = 0xc, IirFifos = 0xc0;
    private const byte LcrDivisor = 0x80;
    private const byte McrLoop = 0x10;
    private const byte LsrData = 1, LsrTransmitterIdle = 0x60;
    private const byte FcrEnable = 1, FcrClearReceive = 2;

    private readonly Lock _lock = new();
    private readonly ISerialBackEnd _backEnd;
    private readonly IInterruptLine _line;
    private readonly IEventLine? _transmitted;
    private readonly Queue<byte> _received = new(64);
    private byte _ier, _lcr, _mcr, _fcr, _scratch, _dll, _dlm;
    private bool _transmitPending;
    private int _heldBack; // reads of LSR for which input waits after the guest cleared the FIFO
    private bool _asserted;

    /// <param name="backEnd">Where what the guest sends goes.</param>
    /// <param name="line">Its interrupt.</param>
    /// <param name="transmitted">Told of each byte that the guest sent, where it asked for that interrupt; null where <paramref name="line"/> has all.</param>
    public Uart16550(ISerialBackEnd backEnd, IInterruptLine line, IEventLine? transmitted = null)
    {
        _backEnd = backEnd;
        _line = line;
        _transmitted = transmitted;
    }

    public string SectionName => "uart";

    /// <summary>Called (on a hart's thread, without the lock) when the guest made room in a full queue.</summary>
    public Action? RoomMade { get; set; }

    /// <summary>Hands input to the guest; from any thread.</summary>
    /// <returns>How many of the bytes were taken.</returns>
    public int Receive(ReadOnlySpan<byte> bytes)
    {
        lock (_lock)
        {
            int count = Math.Min(bytes.Length, QueueCapacity - _received.Count);
            foreach (byte value in bytes[..count])
                _received.Enqueue(value);
            UpdateLine();
            return count;
        }
    }

    /// <summary>Takes the next byte of input past the registers (SBI's console), or -1.</summary>
    public int Take()
    {
        bool roomMade;
        int value = -1;
        lock (_lock)
        {
            _heldBack = 0;
            bool there = _received.Count > 0;
            byte taken = TakeReceived(out roomMade);
            if (there)
                value = taken;
        }

        if (roomMade)
            RoomMade?.Invoke();
        return value;
    }

    public ulong Read(ulong offset, int size)
    {
        if (size != 1)
            return 0;
        bool roomMade = false;
        byte value;
        lock (_lock)
        {
            value = offset switch
            {
                0 when (_lcr & LcrDivisor) != 0 => _dll,
                1 when (_lcr & LcrDivisor) != 0 => _dlm,
                0 => TakeReceived(out roomMade),
                1 => _ier,
                2 => TakeInterrupt(),
                3 => _lcr,
                4 => _mcr,
                5 => LineStatus(),
                6 => ModemStatus(),
                7 => _scratch,
                _ => 0,
            };
        }

        if (roomMade)
            RoomMade?.Invoke();
        return value;
    }

    public void Write(ulong offset, int size, ulong value)
    {
        if (size != 1)
            return;
        byte b = (byte)value;
        lock (_lock)
        {
            switch (offset)
            {
                case 0 when (_lcr & LcrDivisor) != 0:
                    _dll = b;
                    break;
                case 1 when (_lcr & LcrDivisor) != 0:
                    _dlm = b;
                    break;
                case 0:
                    if ((_mcr & McrLoop) == 0)
                        _backEnd.Transmit(b);
                    else if (_received.Count < QueueCapacity)
                        _received.Enqueue(b);
                    TransmitterEmptied(); // again
                    break;
                case 1:
                    // Enabling it reports an empty holding register once more.
                    bool enables = (b & ~_ier & IerTransmit) != 0;
                    _ier = (byte)(b & (IerReceive | IerTransmit | IerLineStatus | IerModem));
                    if (enables)
                        TransmitterEmptied();
                    else if ((b & IerTransmit) == 0)
                        _transmitted?.Withdraw();
                    if ((b & IerReceive) != 0)
                        _heldBack = 0;
                    break;
                case 2:
                    if ((b & FcrClearReceive) != 0 || ((b ^ _fcr) & FcrEnable) != 0)
                        ClearReceiver();
                    _fcr = (byte)(b & (FcrEnable | 0xc0));
                    break;
                case 3:
                    _lcr = b;
                    break;
                case 4:
                    _mcr = (byte)(b & 0x1f);
                    break;
                case 7:
                    _scratch = b;
                    break;
            }

            UpdateLine();
        }
    }

    public void Save(StateWriter writer)
    {
        lock (_lock)
        {
            foreach (byte register in (ReadOnlySpan<byte>)[_ier, _lcr, _mcr, _fcr, _scratch, _dll, _dlm])
                writer.Write(register);
            writer.Write(_transmitPending);
            writer.Write(_heldBack);
            writer.WriteBytes(_received.ToArray());
        }
    }

    public void Load(StateReader reader)
    {
        lock (_lock)
        {
            (_ier, _lcr, _mcr, _fcr) = (reader.ReadByte(), reader.ReadByte(), reader.ReadByte(), reader.ReadByte());
            (_scratch, _dll, _dlm) = (reader.ReadByte(), reader.ReadByte(), reader.ReadByte());
            _transmitPending = reader.ReadBool();
            _heldBack = reader.ReadInt32();
            var input = reader.ReadBytes();
            if (input.Length > QueueCapacity)
                throw new StateException($"section '{reader.Section}' holds {input.Length} bytes of input; {QueueCapacity} is the most");
            _received.Clear();
            foreach (byte value in input)
                _received.Enqueue(value);
            _asserted = Level();
            _line.Set(_asserted);
        }
    }

    private byte TakeReceived(out bool roomMade)
    {
        roomMade = _received.Count == QueueCapacity;
        if (_heldBack > 0 || !_received.TryDequeue(out byte value))
            return 0;
        UpdateLine();
        return value;
    }

    /// <summary>Reading IIR acknowledges the transmitter's interrupt, if that is what it reports.</summary>
    private byte TakeInterrupt()
    {
        byte interrupt = Interrupt();
        if (interrupt == IirTransmit)
        {
            _transmitPending = false;
            _transmitted?.Withdraw();
            UpdateLine();
        }

        return (byte)(interrupt | ((_fcr & FcrEnable) != 0 ? IirFifos : 0));
    }

    /// <summary>The pending interrupt of the highest priority, as IIR shows it.</summary>
    private byte Interrupt()
    {
        if ((_ier & IerReceive) != 0 && _received.Count > 0 && _heldBack == 0)
        {
            int trigger = (_fcr & FcrEnable) == 0 ? 1 : (_fcr >> 6) switch { 0 => 1, 1 => 4, 2 => 8, _ => 14 };
            return _received.Count >= trigger ? IirReceive : IirTimeout; // the character time-out comes at once
        }

        return (_ier & IerTransmit) != 0 && _transmitPending ? IirTransmit : IirNone;
    }

    private byte LineStatus()
    {
        if (_heldBack > 0)
            _heldBack--;
        return (byte)(LsrTransmitterIdle | (_received.Count > 0 && _heldBack == 0 ? LsrData : 0));
    }

    /// <summary>Input that the guest has not seen comes after the clearing, as if the sender had waited: what was typed, or piped in, while the
    /// guest started is not lost. It shows when the guest enables the receiver's interrupt, or polls.</summary>
    private void ClearReceiver()
    {
        if ((_mcr & McrLoop) != 0)
            _received.Clear();
        _heldBack = HoldBack;
    }

    private byte ModemStatus()
    {
        if ((_mcr & McrLoop) == 0)
            return 0xb0; // carrier detect, data set ready, clear to send
        // In loopback the modem control bits come back: RTS as CTS, DTR as DSR, OUT1 as RI, OUT2 as DCD.
        return (byte)((_mcr & 2) << 3 | (_mcr & 1) << 5 | (_mcr & 4) << 4 | (_mcr & 8) << 4);
    }

    private void TransmitterEmptied()
    {
        _transmitPending = true;
        if ((_ier & IerTransmit) != 0)
            _transmitted?.Raise();
    }

    /// <summary>What the line shows: the interrupt, without what is reported as an event.</summary>
    private bool Level() => Interrupt() is not IirNone and var interrupt && (interrupt != IirTransmit || _transmitted is null);

    private void UpdateLine()
    {
        bool asserted = Level();
        if (asserted == _asserted)
            return;
        _asserted = asserted;
        _line.Set(asserted);
    }
}
