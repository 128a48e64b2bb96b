namespace Vivarium.RiscV.Isa;

/// <summary>The extensions that rows of the instruction table belong to; names as in ISA strings.</summary>
public enum Extension : byte
{
    /// <summary>Encodings that the manual reserves inside an extension's space.</summary>
    Reserved = 0,
    I, M, A, F, D,
    /// <summary>The integer part of C.</summary>
    Zca,
    /// <summary>C's double-precision loads and stores (needs D).</summary>
    Zcd,
    Zicsr, Zifencei, Zicntr, Zba, Zbb, Zbc, Zbs, Zfa, Zicond, Zicbom, Zicbop, Zicboz, Zihintpause, Zawrs, Zacas,
    /// <summary>The machine- and supervisor-level instructions of the Privileged Architecture.</summary>
    Privileged,
    Svinval,
}

/// <summary>A set of <see cref="Extension"/>s.</summary>
public readonly record struct ExtensionSet(ulong Bits)
{
    /// <summary>Everything in the instruction table.</summary>
    public static ExtensionSet All => new(ulong.MaxValue);

    /// <summary>RV64GC, Debian's baseline.</summary>
    public static ExtensionSet Rv64gc => Parse("rv64gc");

    public bool Contains(Extension extension) => (Bits >> (int)extension & 1) != 0;

    public ExtensionSet With(Extension extension) => new(Bits | 1UL << (int)extension);

    /// <summary>
    /// Reads an ISA naming string such as <c>rv64i2p1_m2p0_zba1p0</c> (ISA manual, chapter "ISA Extension Naming Conventions"),
    /// with what each extension implies. Names that the table has no rows for are passed over.
    /// </summary>
    public static ExtensionSet Parse(string isa)
    {
        var set = default(ExtensionSet).With(Extension.Privileged);
        ReadOnlySpan<char> rest = isa.AsSpan();
        if (rest.StartsWith("rv32", StringComparison.OrdinalIgnoreCase) || rest.StartsWith("rv64", StringComparison.OrdinalIgnoreCase))
            rest = rest[4..];
        bool c = false;
        while (rest.Length > 0)
        {
            char letter = char.ToLowerInvariant(rest[0]);
            if (letter is 'z' or 's' or 'x')
            {
                int end = rest.IndexOf('_');
                ReadOnlySpan<char> name = end < 0 ? rest : rest[..end];
                rest = end < 0 ? default : rest[end..];
                set = set.WithNamed(StripVersion(name));
                continue;
            }
            rest = rest[1..];
            // A version, "2p1" or "2", belongs to the letter before it.
            int digits = 0;
            while (digits < rest.Length && (char.IsAsciiDigit(rest[digits])
                || (rest[digits] is 'p' or 'P' && digits > 0 && digits + 1 < rest.Length && char.IsAsciiDigit(rest[digits + 1]))))
            {
                digits++;
            }
            ReadOnlySpan<char> version = rest[..digits];
            rest = rest[digits..];
            switch (letter)
            {
                case 'i' or 'e':
                    set = set.With(Extension.I);
                    // Version 2.0 still had in it what became Zicsr and Zifencei.
                    if (version is "2p0") set = set.With(Extension.Zicsr).With(Extension.Zifencei);
                    break;
                case 'm': set = set.With(Extension.M); break;
                case 'a': set = set.With(Extension.A); break;
                case 'f': set = set.With(Extension.F).With(Extension.Zicsr); break;
                case 'd': set = set.With(Extension.D).With(Extension.F).With(Extension.Zicsr); break;
                case 'b': set = set.With(Extension.Zba).With(Extension.Zbb).With(Extension.Zbs); break;
                case 'c': c = true; break;
                case 'g':
                    set = set.With(Extension.I).With(Extension.M).With(Extension.A).With(Extension.F).With(Extension.D)
                        .With(Extension.Zicsr).With(Extension.Zifencei).With(Extension.Zicntr);
                    break;
            }
        }
        if (c) set = set.With(Extension.Zca);
        if (c && set.Contains(Extension.D)) set = set.With(Extension.Zcd);
        return set;
    }

    private ExtensionSet WithNamed(ReadOnlySpan<char> name)
    {
        foreach (var (known, extension) in Named)
        {
            if (name.Equals(known, StringComparison.OrdinalIgnoreCase)) return With(extension);
        }
        return this;
    }

    private static ReadOnlySpan<char> StripVersion(ReadOnlySpan<char> name)
    {
        int end = name.Length;
        while (end > 0 && char.IsAsciiDigit(name[end - 1])) end--;
        if (end < name.Length && end > 1 && name[end - 1] is 'p' or 'P' && char.IsAsciiDigit(name[end - 2]))
        {
            end--;
            while (end > 0 && char.IsAsciiDigit(name[end - 1])) end--;
        }
        return name[..end];
    }

    private static readonly (string, Extension)[] Named =
    [
        ("zaamo", Extension.A), ("zalrsc", Extension.A), ("zca", Extension.Zca), ("zcd", Extension.Zcd), ("zicsr", Extension.Zicsr), ("zifencei", Extension.Zifencei),
        ("zicntr", Extension.Zicntr), ("zba", Extension.Zba), ("zbb", Extension.Zbb), ("zbc", Extension.Zbc), ("zbs", Extension.Zbs),
        ("zfa", Extension.Zfa), ("zicond", Extension.Zicond), ("zicbom", Extension.Zicbom), ("zicbop", Extension.Zicbop),
        ("zicboz", Extension.Zicboz), ("zihintpause", Extension.Zihintpause), ("zawrs", Extension.Zawrs), ("zacas", Extension.Zacas),
        ("svinval", Extension.Svinval),
    ];
}
