using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Firmware;

/// <summary>What a hart has, as device trees say it.</summary>
public static class IsaString
{
    private static readonly (Extension Extension, string Name)[] Unprivileged =
    [
        (Extension.Zicbom, "zicbom"), (Extension.Zicbop, "zicbop"), (Extension.Zicboz, "zicboz"), (Extension.Zicntr, "zicntr"),
        (Extension.Zicond, "zicond"), (Extension.Zicsr, "zicsr"), (Extension.Zifencei, "zifencei"), (Extension.Zihintpause, "zihintpause"),
        (Extension.Zawrs, "zawrs"), (Extension.Zacas, "zacas"), (Extension.Zfa, "zfa"), (Extension.Zba, "zba"), (Extension.Zbb, "zbb"),
        (Extension.Zbc, "zbc"), (Extension.Zbs, "zbs"),
    ];

    /// <summary>The names for <c>riscv,isa-extensions</c>, in canonical order.</summary>
    public static IReadOnlyList<string> Names(HartFeatures features)
    {
        var names = new List<string>();
        foreach (var (extension, name) in (ReadOnlySpan<(Extension, string)>)
            [(Extension.I, "i"), (Extension.M, "m"), (Extension.A, "a"), (Extension.F, "f"), (Extension.D, "d"), (Extension.Zca, "c")])
        {
            if (features.Extensions.Contains(extension))
                names.Add(name);
        }

        foreach (var (extension, name) in Unprivileged)
        {
            if (features.Extensions.Contains(extension))
                names.Add(name);
        }

        foreach (var (there, name) in (ReadOnlySpan<(bool, string)>)
            [(features.Sstc, "sstc"), (features.Svadu, "svadu"), (features.Svinval, "svinval"), (features.Svnapot, "svnapot"), (features.Svpbmt, "svpbmt"), (features.Svvptc, "svvptc")])
        {
            if (there)
                names.Add(name);
        }

        return names;
    }

    /// <summary>The value of <c>riscv,isa</c>: <c>rv64imafdc_zicsr_...</c>.</summary>
    public static string Isa(HartFeatures features)
    {
        var names = Names(features);
        string letters = "rv64" + string.Concat(names.Where(n => n.Length == 1));
        return string.Join('_', names.Where(n => n.Length > 1).Prepend(letters));
    }

    /// <summary>The value of <c>mmu-type</c>.</summary>
    public static string MmuType(HartFeatures features) => features.PageTableLevels switch
    {
        3 => "riscv,sv39",
        4 => "riscv,sv48",
        _ => "riscv,sv57",
    };
}
