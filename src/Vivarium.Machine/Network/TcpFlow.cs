using System.Net;
using System.Net.Sockets;
using Vivarium.Host;
using static Vivarium.Machine.Network.Frames;

namespace Vivarium.Machine.Network;

/// <summary>One TCP connection of the guest, spliced to one of the host: this end speaks TCP with the guest, the host's kernel with the world.</summary>
/// <remarks>
/// Back-pressure: the window that the guest sees is the room in <see cref="_toHost"/>, which drains into the host's socket; and the host's socket is
/// read only while <see cref="_toGuest"/> has room, which drains as the guest acknowledges. Half closes pass through in both directions.
/// The link loses nothing by itself, but the guest may drop what it has no memory for: what is not acknowledged is sent again, all of it (go-back-N),
/// after three duplicate acknowledgements or a time-out. Segments from the guest that come out of order are dropped and asked for again.
/// </remarks>
internal sealed class TcpFlow : ISocketOwner
{
    private enum State
    {
        Connecting, // the guest sent SYN, the host's socket is connecting
        Answered, // SYN and ACK are sent
        Offered, // the host accepted a connection for the guest, SYN is sent
        Open,
        TimeWait, // both sides are closed; a lost last ACK can be repeated
        Closed,
    }

    private const int BufferLimit = 512 * 1024, ReadAtOnce = 64 * 1024, LargestData = ushort.MaxValue - IpHeader - TcpHeader, OwnScale = 4;
    private const int SegmentSize = Mtu - IpHeader - TcpHeader;
    private const int WouldBlock = -11, InProgress = -115, ConnectionRefused = -111;
    private const long FirstTimeout = 2000, LongestTimeout = 30_000, TimeWaitMilliseconds = 2000, OfferMilliseconds = 120_000;
    private const int MostRetries = 10;

    private readonly UserNetwork _network;
    private readonly HostSocket _socket;
    private readonly ByteRing _toGuest = new(BufferLimit), _toHost = new(BufferLimit);
    private readonly ulong _tag;
    private readonly long _born = Environment.TickCount64;
    private readonly uint _first; // our initial sequence number
    private State _state;
    private PollEvents _interest;
    // Towards the guest: _sendBase is the oldest byte not acknowledged (the first of _toGuest), _sendEnd the end of all ever sent.
    private uint _sendBase, _sendNext, _sendEnd, _window;
    private uint _receiveNext, _advertised; // from the guest: next expected, and the right edge of the window it knows
    private int _guestScale, _scale, _segmentSize = SegmentSize, _duplicates, _retries;
    private long _progress, _timeout = FirstTimeout;
    private bool _hostEnded, _finSent, _finAcknowledged, _guestEnded;
    private bool _acknowledge, _blocked, _timed, _synSent;

    private TcpFlow(UserNetwork network, UserNetwork.FlowKey key, HostSocket socket, State state, PollEvents interest)
    {
        (_network, Key, _socket, _state, _interest) = (network, key, socket, state, interest);
        _first = (uint)Random.Shared.NextInt64();
        _sendBase = _sendNext = _sendEnd = _first;
        _tag = network.Watch(socket, interest, this);
        socket.DisableDelay();
    }

    public UserNetwork.FlowKey Key { get; }

    /// <summary>Whether a new connection may take its place.</summary>
    public bool IsOver => _state is State.TimeWait or State.Closed;

    /// <summary>The guest wants to connect; null where that failed at once (and the guest has been told).</summary>
    public static TcpFlow? Connect(UserNetwork network, UserNetwork.FlowKey key, in TcpSegment syn, IPEndPoint remote)
    {
        var result = HostSocket.Create(remote.AddressFamily, SocketType.Stream, out var socket);
        if (result == 0) result = socket!.Connect(remote);
        if (result is not (0 or InProgress))
        {
            socket?.Dispose();
            if (result == ConnectionRefused) Refuse(network, key, syn);
            else network.SendUnreachable(1, ProtocolTcp, key);
            return null;
        }
        var flow = new TcpFlow(network, key, socket!, State.Connecting, PollEvents.Writable) { _receiveNext = syn.Sequence + 1 };
        flow.TakeOptions(syn);
        return flow;
    }

    /// <summary>The host accepted a connection for the guest.</summary>
    public static TcpFlow Offer(UserNetwork network, UserNetwork.FlowKey key, HostSocket socket)
    {
        var flow = new TcpFlow(network, key, socket, State.Offered, PollEvents.Writable);
        flow.SetInterest(PollEvents.None);
        flow.SendOffer();
        return flow;
    }

    /// <summary>Answers a segment that belongs to no connection (RFC 9293, 3.10.7.1).</summary>
    public static void Refuse(UserNetwork network, UserNetwork.FlowKey key, in TcpSegment segment)
    {
        var hasAck = (segment.Flags & Ack) != 0;
        var header = network.Payload[..TcpHeader];
        WriteHeader(header, key, hasAck ? segment.Acknowledgement : 0, hasAck ? 0 : segment.Sequence + segment.Length, hasAck ? Rst : (byte)(Rst | Ack), 0, TcpHeader);
        FinishChecksum(network, header, key);
        network.SendIp(ProtocolTcp, key.RemoteAddress, key.GuestAddress, TcpHeader, default);
    }

    private void TakeOptions(in TcpSegment syn)
    {
        var (size, scale) = syn.SynOptions();
        _segmentSize = Math.Min(size, SegmentSize);
        (_guestScale, _scale) = scale < 0 ? (0, 0) : (scale, OwnScale);
        _window = syn.Window; // never scaled in a SYN
    }

    // From the guest.

    public void Receive(in TcpSegment segment)
    {
        if ((segment.Flags & Rst) != 0)
        {
            var acceptable = _state == State.Offered ? segment.Acknowledgement == _first + 1 : segment.Sequence - _receiveNext < BufferLimit;
            if (acceptable) Abort();
            return;
        }
        switch (_state)
        {
            case State.Offered:
                if ((segment.Flags & (Syn | Ack)) != (Syn | Ack) || segment.Acknowledgement != _first + 1) return;
                TakeOptions(segment);
                _receiveNext = segment.Sequence + 1;
                Open();
                QueueAcknowledgement();
                return;
            case State.Answered:
                if ((segment.Flags & Syn) != 0) SendAnswer();
                if ((segment.Flags & (Syn | Ack)) != Ack || segment.Acknowledgement != _first + 1) return;
                Open();
                break;
            case State.TimeWait:
                if (segment.Length > 0) QueueAcknowledgement();
                return;
            case State.Open: break;
            default: return;
        }
        if ((segment.Flags & (Syn | Ack)) != Ack)
        {
            if ((segment.Flags & Syn) != 0) QueueAcknowledgement();
            return;
        }
        TakeAcknowledgement(segment);
        if (segment.Length > 0 && !TakeData(segment)) return;
        Pump();
        CheckEnd();
    }

    private void Open()
    {
        _state = State.Open;
        _sendBase = _sendNext = _sendEnd = _first + 1;
        _progress = Environment.TickCount64;
        UpdateInterest();
    }

    private void TakeAcknowledgement(in TcpSegment segment)
    {
        var acknowledged = segment.Acknowledgement - _sendBase;
        if (acknowledged > _sendEnd - _sendBase) return; // old, or of what was never sent
        var window = (uint)segment.Window << _guestScale;
        if (acknowledged == 0)
        {
            if (segment.Length == 0 && window == _window && _sendNext != _sendBase && ++_duplicates == 3) Rewind();
            _window = window;
            return;
        }
        _window = window;
        if (acknowledged > (uint)_toGuest.Count) _finAcknowledged = true;
        _toGuest.Drop((int)Math.Min(acknowledged, (uint)_toGuest.Count));
        _sendBase = segment.Acknowledgement;
        if ((int)(_sendNext - _sendBase) < 0) _sendNext = _sendBase;
        if (_finAcknowledged) _finSent = true;
        (_duplicates, _retries, _timeout, _progress) = (0, 0, FirstTimeout, Environment.TickCount64);
        UpdateInterest();
    }

    // False where the connection broke.
    private bool TakeData(in TcpSegment segment)
    {
        QueueAcknowledgement();
        var behind = _receiveNext - segment.Sequence;
        if (behind > (uint)segment.Data.Length || _guestEnded) return true; // a gap, or wholly old
        var data = segment.Data[(int)behind..];
        if (!data.IsEmpty)
        {
            var taken = 0;
            if (_toHost.Count == 0)
            {
                var sent = _socket.Send(data);
                if (sent < 0 && sent != WouldBlock)
                {
                    Reset();
                    return false;
                }
                taken = Math.Max(sent, 0);
            }
            taken += _toHost.Add(data[taken..]);
            _receiveNext += (uint)taken;
            UpdateInterest();
            if (taken < data.Length) return true;
        }
        if ((segment.Flags & Fin) == 0) return true;
        _receiveNext++;
        _guestEnded = true;
        if (_toHost.Count == 0) _socket.ShutdownSend();
        return true;
    }

    private void Rewind()
    {
        _sendNext = _sendBase;
        _finSent = _finAcknowledged;
    }

    // From the host.

    public void Ready(PollEvents events)
    {
        switch (_state)
        {
            case State.Connecting:
                var error = _socket.TakeError();
                if (error == 0 && (events & PollEvents.Writable) != 0)
                {
                    _state = State.Answered;
                    SetInterest(PollEvents.None);
                    SendAnswer();
                    StartTimer();
                    return;
                }
                if (error is 0 or ConnectionRefused) Reset();
                else
                {
                    _network.SendUnreachable(1, ProtocolTcp, Key);
                    Abort();
                }
                return;
            case State.Open:
                if ((events & PollEvents.Writable) != 0 && !FlushToHost()) return;
                if ((events & ~PollEvents.Writable) != 0 && !ReadHost()) return;
                Pump();
                CheckEnd();
                return;
        }
    }

    private bool FlushToHost()
    {
        while (_toHost.Count > 0)
        {
            var sent = _socket.Send(_toHost.First);
            if (sent == WouldBlock) break;
            if (sent < 0)
            {
                Reset();
                return false;
            }
            _toHost.Drop(sent);
        }
        if (_toHost.Count == 0 && _guestEnded) _socket.ShutdownSend();
        // Tell the guest of the room, in big steps.
        if (_receiveNext + (uint)_toHost.Room - _advertised >= BufferLimit / 4) QueueAcknowledgement();
        UpdateInterest();
        return true;
    }

    private bool ReadHost()
    {
        for (var rounds = 0; rounds < 4 && !_hostEnded; rounds++)
        {
            var free = _toGuest.Free(ReadAtOnce);
            if (free.IsEmpty) break;
            var count = _socket.Receive(free);
            if (count == WouldBlock) break;
            if (count < 0)
            {
                Reset();
                return false;
            }
            if (count == 0) _hostEnded = true;
            else _toGuest.Commit(count);
            if (count < free.Length) break;
        }
        UpdateInterest();
        return true;
    }

    private void UpdateInterest()
    {
        if (_state != State.Open) return;
        SetInterest((!_hostEnded && _toGuest.Room > 0 ? PollEvents.Readable : PollEvents.None) | (_toHost.Count > 0 ? PollEvents.Writable : PollEvents.None));
    }

    private void SetInterest(PollEvents interest)
    {
        if (interest == _interest) return;
        _network.ChangeWatch(_socket, _interest, interest, _tag);
        _interest = interest;
    }

    // To the guest.

    private void Pump(bool probe = false)
    {
        if (_state != State.Open || _finAcknowledged) return;
        while (true)
        {
            var flying = (int)(_sendNext - _sendBase);
            var waiting = _toGuest.Count - flying;
            if (waiting <= 0)
            {
                if (!_hostEnded || _finSent) break;
                if (!Send(Fin | Ack, flying, 0)) return; // behind what is on its way and may be lost
                _finSent = true;
                Sent(1);
                break;
            }
            var room = (int)Math.Min(_window, int.MaxValue) - flying;
            if (probe && room <= 0) room = 1;
            probe = false;
            if (room <= 0) break;
            var most = _network.Port.TakesLargeSegments ? LargestData / _segmentSize * _segmentSize : _segmentSize;
            var length = Math.Min(Math.Min(waiting, room), most);
            // A part of a segment only where there is no more, or nothing is on its way that will open the window.
            if (length < _segmentSize && length < waiting && flying > 0) break;
            if (!Send((byte)(length == waiting ? Psh | Ack : Ack), flying, length)) return;
            Sent(length);
        }
        if (_sendNext != _sendBase || _toGuest.Count > 0) StartTimer();
    }

    private void Sent(int length)
    {
        if (_sendNext == _sendBase) _progress = Environment.TickCount64;
        _sendNext += (uint)length;
        if ((int)(_sendNext - _sendEnd) > 0) _sendEnd = _sendNext;
    }

    // False where the guest has no buffer: the flow is called again when it may have.
    private bool Send(byte flags, int offset, int length)
    {
        var segment = _network.Payload[..(TcpHeader + length)];
        var window = _toHost.Room;
        WriteHeader(segment, Key, _sendBase + (uint)offset, _receiveNext, flags, Math.Min(window >> _scale, ushort.MaxValue), TcpHeader);
        if (length > 0) _toGuest.Copy(offset, segment[TcpHeader..]);
        if (!Emit(segment, TcpHeader)) return Block();
        _advertised = _receiveNext + (uint)window;
        _acknowledge = false;
        return true;
    }

    private bool Emit(Span<byte> segment, int header)
    {
        FrameOffload offload = default;
        if (_network.Port.TakesPartialChecksums)
        {
            WriteSum(segment, 16, InternetChecksum.Fold(InternetChecksum.AddPseudoHeader(0, Key.RemoteAddress, Key.GuestAddress, ProtocolTcp, segment.Length)));
            offload.Flags = FrameOffload.NeedsChecksum;
            offload.ChecksumStart = EthernetHeader + IpHeader;
            offload.ChecksumOffset = 16;
            if (segment.Length - header > _segmentSize)
            {
                offload.SegmentationType = FrameOffload.TcpV4;
                offload.SegmentSize = (ushort)_segmentSize;
                offload.HeaderLength = (ushort)(EthernetHeader + IpHeader + header);
            }
        }
        else FinishChecksum(_network, segment, Key);
        return _network.SendIp(ProtocolTcp, Key.RemoteAddress, Key.GuestAddress, segment.Length, offload);
    }

    private bool Block()
    {
        if (!_blocked) _network.QueueBlocked(this);
        _blocked = true;
        return false;
    }

    /// <summary>The guest may have room again.</summary>
    public void Unblock()
    {
        _blocked = false;
        switch (_state)
        {
            case State.Answered: SendAnswer(); break;
            case State.Offered: SendOffer(); break;
            case State.Open: Pump(); break;
        }
        if (_acknowledge) Acknowledge();
    }

    private void QueueAcknowledgement()
    {
        if (_acknowledge) return;
        _acknowledge = true;
        _network.QueueAcknowledgement(this);
    }

    /// <summary>Sends the acknowledgement that is due, unless a segment has carried it meanwhile.</summary>
    public void Acknowledge()
    {
        if (!_acknowledge || _state is not (State.Open or State.TimeWait)) return;
        var (flying, over) = ((int)(_sendNext - _sendBase), _state == State.TimeWait);
        if (!Send(Ack, over ? 0 : flying, 0)) _acknowledge = true;
    }

    private void SendAnswer() => SendSyn(Syn | Ack, _receiveNext, _scale > 0);

    private void SendOffer()
    {
        if (_network.FindGuest())
        {
            SendSyn(Syn, 0, true);
            _synSent = true;
        }
        _progress = Environment.TickCount64;
        StartTimer();
    }

    private void SendSyn(byte flags, uint acknowledgement, bool withScale)
    {
        var header = TcpHeader + (withScale ? 8 : 4);
        var segment = _network.Payload[..header];
        WriteHeader(segment, Key, _first, acknowledgement, flags, ushort.MaxValue, header);
        (segment[20], segment[21]) = (2, 4);
        Write16(segment, 22, SegmentSize);
        if (withScale) (segment[24], segment[25], segment[26], segment[27]) = (1, 3, 3, OwnScale);
        _advertised = _receiveNext + ushort.MaxValue;
        _progress = Environment.TickCount64;
        if (!Emit(segment, header)) Block();
    }

    private static void WriteHeader(Span<byte> segment, UserNetwork.FlowKey key, uint sequence, uint acknowledgement, byte flags, int window, int header)
    {
        Write16(segment, 0, key.RemotePort);
        Write16(segment, 2, key.GuestPort);
        Write32(segment, 4, sequence);
        Write32(segment, 8, acknowledgement);
        segment[12] = (byte)(header / 4 << 4);
        segment[13] = flags;
        Write16(segment, 14, window);
        Write32(segment, 16, 0);
    }

    private static void FinishChecksum(UserNetwork network, Span<byte> segment, UserNetwork.FlowKey key)
    {
        var sum = InternetChecksum.AddPseudoHeader(0, key.RemoteAddress, key.GuestAddress, ProtocolTcp, segment.Length);
        WriteSum(segment, 16, (ushort)~InternetChecksum.Fold(InternetChecksum.Add(sum, segment)));
    }

    // Time and the end.

    private void StartTimer()
    {
        if (_timed) return;
        _timed = true;
        _network.QueueTimer(this);
    }

    /// <summary>Called now and then; false when no more calls are needed.</summary>
    public bool Tick(long now)
    {
        switch (_state)
        {
            case State.TimeWait when now - _progress > TimeWaitMilliseconds:
                _state = State.Closed;
                _network.Remove(this);
                break;
            case State.Offered:
                if (now - _born > OfferMilliseconds) Abort();
                else if (!_synSent || now - _progress > FirstTimeout) SendOffer();
                break;
            case State.Answered:
                if (now - _born > OfferMilliseconds) Abort();
                else if (now - _progress > FirstTimeout) SendAnswer();
                break;
            case State.Open when _sendNext == _sendBase && _toGuest.Count == 0: return _timed = false;
            case State.Open when now - _progress > _timeout:
                if (++_retries > MostRetries)
                {
                    Reset();
                    break;
                }
                _timeout = Math.Min(_timeout * 2, LongestTimeout);
                _progress = now;
                Rewind();
                Pump(probe: true);
                break;
        }
        return _timed = _state != State.Closed;
    }

    private void CheckEnd()
    {
        if (_state != State.Open || !_finAcknowledged || !_guestEnded || _toHost.Count > 0) return;
        _state = State.TimeWait;
        _progress = Environment.TickCount64;
        CloseSocket();
        StartTimer();
    }

    /// <summary>Tells the guest that the connection broke, and forgets it.</summary>
    private void Reset()
    {
        if (_state == State.Closed) return;
        var header = _network.Payload[..TcpHeader];
        WriteHeader(header, Key, _state == State.Connecting ? 0 : _sendNext, _receiveNext, Rst | Ack, 0, TcpHeader);
        Emit(header, TcpHeader);
        Abort();
    }

    /// <summary>Breaks the host's connection, and forgets it.</summary>
    public void Abort()
    {
        if (_state == State.Closed) return;
        if (_state != State.TimeWait)
        {
            _socket.ResetOnClose();
            CloseSocket();
        }
        _state = State.Closed;
        _network.Remove(this);
    }

    private void CloseSocket()
    {
        _network.Unwatch(_tag);
        _socket.Dispose();
    }
}
