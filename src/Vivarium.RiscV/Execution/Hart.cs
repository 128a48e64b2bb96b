using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Privileged;

namespace Vivarium.RiscV.Execution;

/// <summary>One hart: its <see cref="HartState"/> in native memory and the memory window that it sees.</summary>
/// <remarks>Not thread-safe: one thread runs a hart; others only call <see cref="RequestExit"/>.</remarks>
public sealed unsafe class Hart : IDisposable
{
    private HartState* _state;
    private ulong _leaveWord;
    private Reservations _reservations = Reservations.Shared;

    public Hart(MemoryWindow memory)
    {
        Memory = memory;
        _state = (HartState*)NativeMemory.AlignedAlloc((nuint)sizeof(HartState), 64);
        new Span<byte>(_state, sizeof(HartState)).Clear();
        _state->ReservationAddress = ulong.MaxValue;
        _state->ReservationTable = _reservations.Address;
        _state->MemoryBase = memory.HostBase;
        _state->MemorySize = memory.Size;
    }

    /// <summary>The memory that the hart's loads, stores and fetches go to.</summary>
    public MemoryWindow Memory { get; private set; }

    /// <summary>The architectural state. The reference stays valid until <see cref="Dispose"/>.</summary>
    public ref HartState State => ref *_state;

    /// <summary>Where store-conditionals meet those of other harts; <see cref="Execution.Reservations.Shared"/> at first. Set only while it does not run.</summary>
    public Reservations Reservations
    {
        get => _reservations;
        set
        {
            _reservations = value;
            _state->ReservationTable = value.Address;
        }
    }

    /// <summary>The privileged part of a machine's hart; null in process mode. Set by the unit itself.</summary>
    public PrivilegedUnit? Privileged { get; internal set; }

    /// <summary>What the interpreter decoded for this hart; it makes it, and only it uses it.</summary>
    internal DecodeCache? DecodeCache { get; set; }

    /// <summary>Address of <see cref="State"/> for emitted code; only <c>Vivarium.Translation</c> has a use for it.</summary>
    public nint StateAddress => (nint)_state;

    /// <summary>Integer register <paramref name="index"/> (1..31); x0 reads 0 and ignores writes.</summary>
    public ulong this[int index]
    {
        get => _state->X[index & 31];
        set { if ((index & 31) != 0) _state->X[index & 31] = value; }
    }

    public ulong Pc { get => _state->Pc; set => _state->Pc = value; }

    /// <summary>Moves the hart to another memory window (execve). Only while it does not run.</summary>
    public void SwitchMemory(MemoryWindow memory)
    {
        Memory = memory;
        DecodeCache = null;
        _state->MemoryBase = memory.HostBase;
        _state->MemorySize = memory.Size;
        _state->ReservationAddress = ulong.MaxValue;
    }

    /// <summary>Asks the executor to return soon; safe from any thread while the hart lives. Does not wake a blocked host
    /// syscall: see <see cref="HostThread.Kick"/>.</summary>
    public void RequestExit()
    {
        Interlocked.Exchange(ref _state->ExitRequest, 1);
        ulong word = Volatile.Read(ref _leaveWord);
        // SAFETY: an executor's word for as long as the process lives.
        if (word != 0) Volatile.Write(ref *(int*)word, 1);
    }

    /// <summary>Host address of a 4-byte word that <see cref="RequestExit"/> sets too, for emitted code that polls one word for all reasons; 0 for none.
    /// It must never be freed. Set by the executor that is about to run the hart, and seen by requests that it does not see itself.</summary>
    public ulong LeaveWord
    {
        get => _leaveWord;
        set => Interlocked.Exchange(ref _leaveWord, value);
    }

    public void Dispose()
    {
        if (_state == null) return;
        NativeMemory.AlignedFree(_state);
        _state = null;
    }
}
