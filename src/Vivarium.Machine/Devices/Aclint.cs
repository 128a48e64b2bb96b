using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Devices;

/// <summary>
/// The core-local interruptor in the layout that firmware expects (compatible <c>sifive,clint0</c>; the ACLINT's MSWI and MTIMER at the same
/// places): <c>msip</c> words at 0, <c>mtimecmp</c> at 0x4000, <c>mtime</c> at 0xbff8. <c>mtime</c> is read-only here.
/// </summary>
public sealed class Aclint : IMmioDevice, IStateful
{
    public const ulong Size = 0x1_0000;
    public const ulong TimerBase = 0x4000;
    public const ulong TimeOffset = 0xbff8;

    private readonly Lock _lock = new();
    private readonly Func<ulong> _ticks;
    private readonly IInterruptLine[] _software;
    private readonly Action<ulong>[] _setTimer;
    private readonly bool[] _msip;
    private readonly ulong[] _mtimecmp;

    /// <param name="ticks">The machine's <c>mtime</c>.</param>
    /// <param name="software">The MSIP wire of each hart.</param>
    /// <param name="setTimer">Per hart: raise MTIP when <c>mtime</c> reaches the value, and not before.</param>
    public Aclint(Func<ulong> ticks, IReadOnlyList<IInterruptLine> software, IReadOnlyList<Action<ulong>> setTimer)
    {
        _ticks = ticks;
        _software = [.. software];
        _setTimer = [.. setTimer];
        _msip = new bool[_software.Length];
        _mtimecmp = new ulong[_software.Length];
        Array.Fill(_mtimecmp, ulong.MaxValue);
    }

    public string SectionName => "aclint";

    public ulong Read(ulong offset, int size)
    {
        lock (_lock)
        {
            if (offset < TimerBase)
                return size == 4 && offset / 4 < (ulong)_msip.Length && _msip[offset / 4] ? 1u : 0;
            if (offset >= TimeOffset)
                return Part(_ticks(), offset - TimeOffset, size);
            return TimerOf(offset) is >= 0 and int hart ? Part(_mtimecmp[hart], offset & 7, size) : 0;
        }
    }

    public void Write(ulong offset, int size, ulong value)
    {
        lock (_lock)
        {
            if (offset < TimerBase)
            {
                if (size != 4 || offset / 4 >= (ulong)_msip.Length)
                    return;
                _msip[offset / 4] = (value & 1) != 0;
                _software[offset / 4].Set((value & 1) != 0);
            }
            else if (offset < TimeOffset && TimerOf(offset) is >= 0 and int hart)
            {
                ulong old = _mtimecmp[hart];
                _mtimecmp[hart] = (size, offset & 7) switch
                {
                    (8, 0) => value,
                    (4, 0) => old & ~0xffff_fffful | (uint)value,
                    (4, 4) => old & 0xffff_fffful | value << 32,
                    _ => old,
                };
                _setTimer[hart](_mtimecmp[hart]);
            }
        }
    }

    public void Save(StateWriter writer)
    {
        lock (_lock)
        {
            writer.WriteWords(_mtimecmp);
            foreach (bool bit in _msip)
                writer.Write(bit);
        }
    }

    public void Load(StateReader reader)
    {
        lock (_lock)
        {
            reader.ReadWords(_mtimecmp);
            for (int i = 0; i < _msip.Length; i++)
            {
                _software[i].Set(_msip[i] = reader.ReadBool());
                _setTimer[i](_mtimecmp[i]);
            }
        }
    }

    private int TimerOf(ulong offset) => (offset - TimerBase) / 8 is var hart && hart < (ulong)_mtimecmp.Length ? (int)hart : -1;

    private static ulong Part(ulong value, ulong at, int size) => (size, at) switch
    {
        (8, 0) => value,
        (4, 0) => (uint)value,
        (4, 4) => value >> 32,
        _ => 0,
    };
}
