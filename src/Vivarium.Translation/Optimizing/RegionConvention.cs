using Vivarium.Translation.CodeGen;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Optimizing;

/// <summary>
/// How guest registers cross the boundary of a region: as arguments of LLVM's preserve_none convention, which preserves rbp alone and passes integers in the registers
/// below. Most are where tier 1 keeps a guest register; two of tier 1's are no argument registers, and cross in others. The rest of the guest's registers is in the
/// hart's state. The ways out are functions of the same arguments, called at the tail; what an indirect one leads to stands in the place of the state.
/// </summary>
internal static class RegionConvention
{
    /// <summary>In LLVM's words.</summary>
    public const string Name = "preserve_nonecc";

    /// <summary>Holds the address of the hart's state.</summary>
    public const Gpr State = RegisterMap.MemoryBase;

    private static ReadOnlySpan<Gpr> Arguments =>
        [Gpr.R12, Gpr.R13, Gpr.R14, Gpr.R15, Gpr.Rdi, Gpr.Rsi, Gpr.Rdx, Gpr.Rcx, Gpr.R8, Gpr.R9, Gpr.R11, Gpr.Rax];

    /// <summary>Tier 1's registers that are no arguments, and what carries their values across.</summary>
    public static ReadOnlySpan<(Gpr Home, Gpr Carrier)> Carried => new (Gpr, Gpr)[] { (Gpr.R10, RegisterMap.Scratch1), (Gpr.Rbx, RegisterMap.Scratch0) };

    /// <summary>The guest register of each argument; 0 for the state.</summary>
    public static readonly int[] Guests = FindGuests();

    /// <summary>Bit per guest register that is an argument: all that tier 1 has in host registers.</summary>
    public static readonly uint Passed = Guests.Aggregate(0u, static (set, g) => set | 1u << g) & ~1u;

    /// <summary>The name of the function that is an exit.</summary>
    public const string ExitName = "exit";

    /// <summary>What a function of the convention takes, as types only.</summary>
    public static readonly string Types = string.Join(", ", Guests.Select(static g => g == 0 ? "ptr" : "i64"));

    private static int[] FindGuests()
    {
        var guests = new int[Arguments.Length];
        for (int n = 0; n < guests.Length; n++)
        {
            Gpr home = Arguments[n];
            if (home == State) continue;
            foreach ((Gpr carried, Gpr carrier) in Carried)
            {
                if (carrier == Arguments[n]) home = carried;
            }
            guests[n] = Array.IndexOf(RegisterMap.IntegerHost, (sbyte)home);
        }
        return guests;
    }
}
