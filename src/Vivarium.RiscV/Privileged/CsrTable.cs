namespace Vivarium.RiscV.Privileged;

/// <summary>One CSR.</summary>
/// <param name="Read">Its value.</param>
/// <param name="Write">What writing does, with the rules of what is legal; null where it is read-only.</param>
/// <param name="Exists">Whether it can be accessed now, beyond what its number says; null for always.</param>
internal sealed record CsrRow(Func<PrivilegedUnit, ulong> Read, Action<PrivilegedUnit, ulong>? Write, Func<PrivilegedUnit, bool>? Exists);

/// <summary>CSRs by number.</summary>
internal sealed class CsrTable
{
    private readonly CsrRow?[] _rows = new CsrRow?[4096];

    public CsrTable(Action<CsrTable> fill) => fill(this);

    public void Add(int number, Func<PrivilegedUnit, ulong> read, Action<PrivilegedUnit, ulong>? write, Func<PrivilegedUnit, bool>? exists = null) =>
        _rows[number] = new(read, write, exists);

    public CsrRow? Of(int number) => _rows[number];
}
