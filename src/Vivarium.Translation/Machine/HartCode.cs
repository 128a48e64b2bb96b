using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation.Cache;

namespace Vivarium.Translation.Machine;

/// <summary>What the engine keeps of one hart: where its emitted indirect jumps look their targets up. A table holds virtual addresses of one way to
/// execute (mode, and whether floating point is translated), as they are mapped now.</summary>
/// <remarks>Only the hart's thread fills them; any thread removes blocks that died.</remarks>
internal sealed class HartCode : IDisposable
{
    private const int Many = 8192;

    private readonly JumpTable?[] _tables = new JumpTable?[8];
    private readonly List<ulong>[] _published = new List<ulong>[8];
    private readonly ulong _codeBase;

    public HartCode(Hart hart, PrivilegedUnit unit, ulong codeBase)
    {
        (Hart, Unit, _codeBase) = (hart, unit, codeBase);
        for (int i = 0; i < _published.Length; i++) _published[i] = [];
    }

    public Hart Hart { get; }

    public PrivilegedUnit Unit { get; }

    /// <summary>The table of a mode.</summary>
    public JumpTable Table(PrivilegeMode mode, bool hasFloat) => _tables[Index(mode, hasFloat)] ??= new JumpTable(_codeBase);

    public void Publish(PrivilegeMode mode, bool hasFloat, ulong pc, ulong entry)
    {
        Table(mode, hasFloat).Set(pc, entry);
        _published[Index(mode, hasFloat)].Add(pc);
    }

    /// <summary>Translations changed: of a page, or all.</summary>
    public void Forget(ulong? page)
    {
        for (int i = 0; i < _tables.Length; i++)
        {
            if (Volatile.Read(ref _tables[i]) is not { } table) continue;
            if (page is { } one)
            {
                if (_published[i].Count != 0) table.ClearPage(one);
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
        foreach (JumpTable? table in _tables) table?.Dispose();
    }

    private static int Index(PrivilegeMode mode, bool hasFloat) => (int)mode << 1 | (hasFloat ? 1 : 0);
}
