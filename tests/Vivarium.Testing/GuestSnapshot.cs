using System.Text;
using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Testing;

/// <summary>Everything that two executors must agree on after the same program.</summary>
public sealed class GuestSnapshot
{
    private readonly ExecutionExit _exit;
    private readonly ulong _pc;
    private readonly ulong[] _x = new ulong[32], _f = new ulong[32];
    private readonly uint _fflags, _frm;
    private readonly byte[] _data;

    private unsafe GuestSnapshot(ExecutionExit exit, Hart hart, MemoryWindow window)
    {
        ref var state = ref hart.State;
        _exit = exit;
        _pc = state.Pc;
        (_fflags, _frm) = (state.Fflags, state.Frm);
        for (var r = 0; r < 32; r++) (_x[r], _f[r]) = (state.X[r], state.F[r]);
        _data = new byte[RandomProgram.DataSize];
        Assert.Equal(_data.Length, window.Read(RandomProgram.DataStart, _data));
    }

    /// <summary>Takes the registers, how execution ended, and the data pages of <see cref="RandomProgram"/>.</summary>
    public static GuestSnapshot Capture(ExecutionExit exit, Hart hart, MemoryWindow window) => new(exit, hart, window);

    public ExecutionExit Exit => _exit;

    /// <summary>The differences to <paramref name="other"/>, one per line; empty when there are none.</summary>
    public string Differences(GuestSnapshot other)
    {
        var text = new StringBuilder();
        if (_exit != other._exit) text.AppendLine($"exit {_exit} | {other._exit}");
        if (_pc != other._pc) text.AppendLine($"pc {_pc:x} | {other._pc:x}");
        for (var r = 0; r < 32; r++)
        {
            if (_x[r] != other._x[r]) text.AppendLine($"x{r} {_x[r]:x16} | {other._x[r]:x16}");
        }
        for (var r = 0; r < 32; r++)
        {
            if (_f[r] != other._f[r]) text.AppendLine($"f{r} {_f[r]:x16} | {other._f[r]:x16}");
        }
        if (_fflags != other._fflags) text.AppendLine($"fflags {_fflags:x} | {other._fflags:x}");
        if (_frm != other._frm) text.AppendLine($"frm {_frm} | {other._frm}");
        for (var n = 0; n < _data.Length; n += 8)
        {
            var (a, b) = (BitConverter.ToUInt64(_data, n), BitConverter.ToUInt64(other._data, n));
            if (a != b) text.AppendLine($"[data+{n:x}] {a:x16} | {b:x16}");
        }
        return text.ToString();
    }
}
