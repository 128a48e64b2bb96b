using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;

namespace Vivarium.Translation.Machine;

/// <summary>What the engine keeps of one hart: where its emitted indirect jumps look their targets up. A table holds virtual addresses of one mode, as
/// they are mapped now; of user mode there is one for each address space that the unit keeps.</summary>
/// <remarks>Only the hart's thread fills them; any thread removes blocks that died.</remarks>
internal sealed class HartCode : IDisposable
{
    private const int Many = 8192, Supervisor = HartTlb.Spaces, Machine = Supervisor + 1, Tables = Machine + 1;

    private const int SeenBits = 19;

    private readonly ulong[] _seen = new ulong[1 << SeenBits - 6]; // a bit for each place, by a hash
    private readonly JumpTable?[] _tables = new JumpTable?[Tables];
    private readonly List<ulong>[] _published = new List<ulong>[Tables];
    private readonly CodeCache _cache;

    public HartCode(Hart hart, PrivilegedUnit unit, CodeCache cache)
    {
        (Hart, Unit, _cache) = (hart, unit, cache);
        for (int i = 0; i < _published.Length; i++) _published[i] = [];
    }

    public Hart Hart { get; }

    public PrivilegedUnit Unit { get; }

    /// <summary>What the optimising tier wants of the hart's thread.</summary>
    public GuestPresence Presence { get; } = new();

    /// <summary>The thread that runs the hart.</summary>
    public HostThread? Host { get; set; }

    /// <summary>Exits of blocks that could not run for floating point, since FS was last made Dirty for them.</summary>
    public int FloatOffs;

    /// <summary>The engine's epoch when the hart last held no address of translated code; 0 while it is not in the engine.</summary>
    public long Epoch;

    /// <summary>Whether control gets to a place for the first time, as far as is known.</summary>
    public bool IsFirst(ulong physical)
    {
        var bit = (int)((physical >> 1) * 0x9E3779B97F4A7C15 >> 64 - SeenBits);
        ref ulong word = ref _seen[bit >> 6];
        if ((word >> bit & 1) != 0) return false;
        word |= 1UL << bit;
        return true;
    }

    /// <summary>The table of what the hart executes in now.</summary>
    public JumpTable Table()
    {
        int index = Index();
        return _tables[index] ?? Make(index);
    }

    public void Publish(ulong pc, ulong entry)
    {
        int index = Index();
        Table().Set(pc, entry);
        if (_published[index].Count <= Many) _published[index].Add(pc); // more are not told apart
    }

    /// <summary>Translations changed: of a page, or all; of some address spaces (see <see cref="PrivilegedUnit.TranslationsFlushed"/>).</summary>
    public void Forget(ulong? page, uint spaces)
    {
        for (int i = 0; i < Tables; i++)
        {
            uint bit = i < HartTlb.Spaces ? 1u << i : PrivilegedUnit.PrivilegedSpaces;
            if ((spaces & bit) == 0 || _published[i].Count == 0) continue;
            JumpTable table = _tables[i]!;
            if (page is { } one)
            {
                table.ClearPage(one);
                continue;
            }
            if (_published[i].Count > Many) table.ClearAll();
            else
            {
                foreach (ulong pc in _published[i]) table.Clear(pc);
            }
            _published[i].Clear();
        }
    }

    /// <summary>A block died; any thread.</summary>
    public void Remove(ulong pc, ulong entry)
    {
        for (int i = 0; i < _tables.Length; i++) Volatile.Read(ref _tables[i])?.Remove(pc, entry);
    }

    public void Dispose()
    {
        Presence.Free();
        foreach (JumpTable? table in _tables) table?.Dispose();
    }

    private JumpTable Make(int index)
    {
        var table = new JumpTable(_cache.Stubs.DummyEntry, _cache.Tables);
        Volatile.Write(ref _tables[index], table);
        return table;
    }

    private int Index() => Unit.Mode switch { PrivilegeMode.User => Unit.Space, PrivilegeMode.Supervisor => Supervisor, _ => Machine };
}
