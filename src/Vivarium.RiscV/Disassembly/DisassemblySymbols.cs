using System.Text;
using Vivarium.RiscV.Elf;

namespace Vivarium.RiscV.Disassembly;

/// <summary>The symbols of a file as a disassembly names addresses with them: <c>.symtab</c> or else <c>.dynsym</c>, one
/// <c>name@plt</c> for each entry of the procedure linkage table, and dynamic relocations for addresses without a symbol.</summary>
internal sealed class DisassemblySymbols
{
    private const int PltHeader = 32, PltEntry = 16, RelaSize = 24;

    /// <summary>A symbol with the text that it is written with.</summary>
    public sealed record Symbol(string Name, string Version, ulong Value, ulong Size, int Section, SymbolType Type, SymbolBinding Binding, bool Synthetic)
    {
        /// <summary>Where it stands in the file's table.</summary>
        public int Order { get; init; }

        public bool IsFunction => Type is SymbolType.Function or SymbolType.IndirectFunction;
    }

    private readonly Symbol[] _all;
    private readonly Dictionary<ulong, Symbol> _relocated = [];
    private Symbol[] _sorted;
    private int _section = -1;

    public DisassemblySymbols(ElfImage image)
    {
        bool stripped = image.Symbols.Count == 0;
        IEnumerable<ElfSymbol> source = stripped ? image.DynamicSymbols : image.Symbols;
        var symbols = new List<Symbol>();
        foreach (ElfSymbol symbol in source)
        {
            if (symbol.Type == SymbolType.Section)
            {
                // Of the sections only those get a name that have no symbols of their own.
                string name = symbol.Section < image.Sections.Count ? image.Sections[symbol.Section].Name : "";
                if (name.StartsWith(".plt", StringComparison.Ordinal) || name == ".got") symbols.Add(Convert(symbol with { Name = name, Version = "" }));
                continue;
            }
            if (symbol.Section is ElfSymbol.Undefined or ElfSymbol.Common || symbol.Type == SymbolType.File
                || symbol.Name.Length == 0 || IsMapping(symbol.Name) || symbol.Name.StartsWith(".L0 ", StringComparison.Ordinal))
                continue;
            symbols.Add(Convert(symbol));
            if (symbol.Name == "__global_pointer$") GlobalPointer = symbol.Value;
        }
        AddLinkageTable(image, symbols);
        ReadRelocations(image);
        _all = [.. symbols.Select((s, i) => s with { Order = i })];
        _sorted = _all;
    }

    /// <summary>The value of <c>__global_pointer$</c>.</summary>
    public ulong? GlobalPointer { get; }

    /// <summary>How many there are in all.</summary>
    public int Count => _sorted.Length;

    public Symbol this[int index] => _sorted[index];

    /// <summary>Mapping symbols (psABI) tell code from data: <c>$x</c> and <c>$d</c>.</summary>
    public static bool IsMapping(string name) => name.Length >= 2 && name[0] == '$' && name[1] is 'x' or 'd'
        && (name.Length == 2 || name[2] == '.' || (name[1] == 'x' && name[2] == 'r'));

    /// <summary>Sorts for section <paramref name="section"/>: its own symbols come first among those of one address.</summary>
    public void Enter(int section)
    {
        _section = section;
        _sorted = [.. _all];
        Array.Sort(_sorted, Compare);
    }

    /// <summary>The index of the symbol that names <paramref name="address"/>: the first of the nearest below it, or the first of all; -1
    /// when there is none.</summary>
    public int Find(ulong address)
    {
        if (_sorted.Length == 0) return -1;
        int index = Math.Max(CountUpTo(address) - 1, 0);
        while (index > 0 && _sorted[index - 1].Value == _sorted[index].Value) index--;
        return index;
    }

    /// <summary>The same among the symbols of the section that was entered: the nearest below, or else above, or -1.</summary>
    public int FindInSection(ulong address)
    {
        int upper = CountUpTo(address);
        for (int i = upper - 1; i >= 0; i--)
        {
            if (_sorted[i].Section != _section) continue;
            while (i > 0 && _sorted[i - 1].Value == _sorted[i].Value && _sorted[i - 1].Section == _section) i--;
            return i;
        }
        for (int i = upper; i < _sorted.Length; i++)
        {
            if (_sorted[i].Section == _section) return i;
        }
        return -1;
    }

    /// <summary>How many symbols lie at or below <paramref name="address"/>.</summary>
    private int CountUpTo(ulong address)
    {
        int low = 0, high = _sorted.Length;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (_sorted[middle].Value <= address) low = middle + 1; else high = middle;
        }
        return low;
    }

    /// <summary>Appends <c>address &lt;symbol+offset&gt;</c>.</summary>
    public void AppendAddress(StringBuilder text, ulong address)
    {
        if (_sorted.Length == 0)
        {
            text.Append("0x").Append(address.ToString("x"));
            return;
        }
        Symbol symbol = _sorted[Find(address)];
        // A symbol of the section at hand is good enough; others give way to the relocation at the very address.
        if (symbol.Section != _section && !symbol.Synthetic && _relocated.TryGetValue(address, out Symbol? relocated)) symbol = relocated;
        text.Append(address.ToString("x"));
        AppendName(text, symbol, address);
    }

    /// <summary>Appends <c> &lt;symbol+offset&gt;</c>.</summary>
    public static void AppendName(StringBuilder text, Symbol symbol, ulong address)
    {
        text.Append(" <").Append(symbol.Name).Append(symbol.Version);
        if (symbol.Section == ElfSymbol.Undefined && !symbol.Synthetic) { }
        else if (symbol.Value > address) text.Append("-0x").Append((symbol.Value - address).ToString("x"));
        else if (symbol.Value < address) text.Append("+0x").Append((address - symbol.Value).ToString("x"));
        text.Append('>');
    }

    private static Symbol Convert(in ElfSymbol symbol)
    {
        string version = symbol.Version.Length == 0 ? "" : (symbol.VersionIsDefault ? "@@" : "@") + symbol.Version;
        return new Symbol(Printable(symbol.Name), version, symbol.Value, symbol.Size, symbol.Section, symbol.Type, symbol.Binding, false);
    }

    /// <summary>Control characters as <c>^B</c>: names come from the file and go to a terminal.</summary>
    private static string Printable(string name)
    {
        if (!name.Any(char.IsControl)) return name;
        var text = new StringBuilder();
        foreach (char c in name)
        {
            if (char.IsControl(c)) text.Append('^').Append((char)(c & 0x1f | 0x40));
            else text.Append(c);
        }
        return text.ToString();
    }

    private static void AddLinkageTable(ElfImage image, List<Symbol> symbols)
    {
        if (image.DynamicSymbols.Count == 0 || image.FindSection(".plt") is not { } plt || image.FindSection(".rela.plt") is not { } relocations) return;
        ReadOnlySpan<byte> data = image.SectionData(relocations).Span;
        for (int i = 0; i < data.Length / RelaSize; i++)
        {
            uint index = (uint)(ElfImage.U64(data, i * RelaSize + 8) >> 32);
            ulong addend = ElfImage.U64(data, i * RelaSize + 16);
            string name = "*ABS*";
            SymbolType type = SymbolType.None;
            SymbolBinding binding = SymbolBinding.Global;
            if (index > 0 && index <= image.DynamicSymbols.Count)
            {
                ElfSymbol target = image.DynamicSymbols[(int)index - 1];
                (name, type, binding) = (target.Name, target.Type, target.Binding);
            }
            if (addend != 0) name += "+0x" + addend.ToString("x");
            symbols.Add(new Symbol(Printable(name) + "@plt", "", plt.Address + PltHeader + (ulong)i * PltEntry, 0, plt.Index, type, binding, true));
        }
    }

    /// <summary>Names addresses by the symbol of the dynamic relocation that fills them: a GOT slot by its function.</summary>
    private void ReadRelocations(ElfImage image)
    {
        foreach (ElfSection section in image.Sections)
        {
            if (section.Type != SectionType.Rela || section.Link >= image.Sections.Count
                || image.Sections[(int)section.Link].Type != SectionType.DynamicSymbols) continue;
            ReadOnlySpan<byte> data = image.SectionData(section).Span;
            for (int i = 0; i < data.Length / RelaSize; i++)
            {
                uint index = (uint)(ElfImage.U64(data, i * RelaSize + 8) >> 32);
                if (index == 0 || index > image.DynamicSymbols.Count) continue;
                ElfSymbol symbol = image.DynamicSymbols[(int)index - 1];
                if (symbol.Section != ElfSymbol.Absolute) _relocated.TryAdd(ElfImage.U64(data, i * RelaSize), Convert(symbol));
            }
        }
    }

    private int Compare(Symbol a, Symbol b)
    {
        if (a.Value != b.Value) return a.Value.CompareTo(b.Value);
        if (a.Section != b.Section)
        {
            if (a.Section == _section) return -1;
            if (b.Section == _section) return 1;
        }
        int order = (a.Type == SymbolType.Section).CompareTo(b.Type == SymbolType.Section);
        if (order == 0) order = b.IsFunction.CompareTo(a.IsFunction);
        if (order == 0) order = (b.Type == SymbolType.Object).CompareTo(a.Type == SymbolType.Object);
        if (order == 0) order = (b.Binding is SymbolBinding.Global).CompareTo(a.Binding is SymbolBinding.Global);
        if (order == 0) order = (a.Binding is SymbolBinding.Local).CompareTo(b.Binding is SymbolBinding.Local);
        if (order == 0 && !a.Synthetic && !b.Synthetic) order = b.Size.CompareTo(a.Size);
        if (order == 0) order = (a.Name[0] == '.').CompareTo(b.Name[0] == '.');
        if (order == 0) order = string.CompareOrdinal(a.Name, b.Name);
        return order != 0 ? order : a.Order.CompareTo(b.Order);
    }
}
