namespace Vivarium.RiscV.Elf;

/// <summary>GNU symbol versions: <c>.gnu.version</c>, <c>.gnu.version_d</c>, <c>.gnu.version_r</c> (LSB, "Symbol Versioning").</summary>
internal sealed class ElfVersions
{
    public static readonly ElfVersions None = new(default, [], []);

    private readonly ReadOnlyMemory<byte> _indices;
    private readonly Dictionary<int, string> _names;

    private readonly HashSet<int> _needed;

    private ElfVersions(ReadOnlyMemory<byte> indices, Dictionary<int, string> names, HashSet<int> needed)
    {
        _needed = needed;
        _indices = indices;
        _names = names;
    }

    /// <summary>The version of dynamic symbol <paramref name="symbol"/>; empty when it has none.</summary>
    public string Of(int symbol, bool undefined, out bool isDefault)
    {
        isDefault = false;
        ReadOnlySpan<byte> indices = _indices.Span;
        if (symbol >= indices.Length / 2) return "";
        int index = ElfImage.U16(indices, symbol * 2);
        isDefault = !undefined && (index & 0x8000) == 0 && !_needed.Contains(index);
        return _names.GetValueOrDefault(index & 0x7fff, "");
    }

    public static ElfVersions Read(ElfImage image)
    {
        ElfSection? table = null, definitions = null, needs = null;
        foreach (ElfSection section in image.Sections)
        {
            if (section.Type == SectionType.GnuVersionSymbols) table ??= section;
            else if (section.Type == SectionType.GnuVersionDefinitions) definitions ??= section;
            else if (section.Type == SectionType.GnuVersionNeeds) needs ??= section;
        }
        if (table is not { } symbols) return None;
        // Index 1 is the file itself, unless a definition takes it.
        var names = new Dictionary<int, string>();
        if (definitions is { } d) ReadDefinitions(image, d, names);
        // Defined symbols have needed versions too: copies of another object's data (R_RISCV_COPY).
        var needed = new HashSet<int>();
        if (needs is { } n)
        {
            int[] defined = [.. names.Keys];
            ReadNeeds(image, n, names);
            needed.UnionWith(names.Keys.Except(defined));
        }
        if (definitions != null || needs != null) names.TryAdd(1, "Base");
        return new ElfVersions(image.SectionData(symbols), names, needed);
    }

    private static ReadOnlySpan<byte> Strings(ElfImage image, in ElfSection section)
        => section.Link < image.Sections.Count ? image.SectionData(image.Sections[(int)section.Link]).Span : default;

    // Chains run forward only (a link of 0 ends them), so damaged ones end too.
    private static void ReadDefinitions(ElfImage image, ElfSection section, Dictionary<int, string> names)
    {
        ReadOnlySpan<byte> data = image.SectionData(section).Span, strings = Strings(image, section);
        for (ulong at = 0; at + 20 <= (ulong)data.Length;)
        {
            ReadOnlySpan<byte> entry = data[(int)at..];
            bool isBase = (ElfImage.U16(entry, 2) & 1) != 0;
            int index = ElfImage.U16(entry, 4) & 0x7fff;
            uint auxiliary = ElfImage.U32(entry, 12), next = ElfImage.U32(entry, 16);
            if (auxiliary + 8UL <= (ulong)entry.Length && !isBase) names.TryAdd(index, ElfImage.Text(strings, ElfImage.U32(entry, (int)auxiliary)));
            if (next == 0) break;
            at += next;
        }
    }

    private static void ReadNeeds(ElfImage image, ElfSection section, Dictionary<int, string> names)
    {
        ReadOnlySpan<byte> data = image.SectionData(section).Span, strings = Strings(image, section);
        int budget = data.Length; // entries of damaged chains may overlap: no more steps than bytes
        for (ulong at = 0; at + 16 <= (ulong)data.Length;)
        {
            ReadOnlySpan<byte> entry = data[(int)at..];
            uint next = ElfImage.U32(entry, 12);
            for (ulong item = ElfImage.U32(entry, 8); item + 16 <= (ulong)entry.Length && budget-- > 0;)
            {
                ReadOnlySpan<byte> need = entry[(int)item..];
                names.TryAdd(ElfImage.U16(need, 6) & 0x7fff, ElfImage.Text(strings, ElfImage.U32(need, 8)));
                uint step = ElfImage.U32(need, 12);
                if (step == 0) break;
                item += step;
            }
            if (next == 0) break;
            at += next;
        }
    }
}
