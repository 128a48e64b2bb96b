using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

/// <summary>
/// Where guest registers live in emitted code, the same over the whole cache: what compilers use most is in host registers, the rest in
/// <see cref="Vivarium.RiscV.Execution.HartState"/>. rbp holds the context, r15 the memory base (of machines: the TLB's table), rsp the host stack; rax and rcx are scratch.
/// </summary>
/// <remarks>A loop may use its own mapping between its entry and its exits; see <see cref="CodeGenerator"/>.</remarks>
public static class RegisterMap
{
    public const Gpr Context = Gpr.Rbp, MemoryBase = Gpr.R15, Scratch0 = Gpr.Rax, Scratch1 = Gpr.Rcx;

    /// <summary>rbp = address of the hart's state + this: x0..x31 have 8-bit displacements.</summary>
    public const int ContextBias = 128;

    /// <summary>Not in a host register.</summary>
    public const sbyte InMemory = -1;

    /// <summary>Guest integer registers in the order of their host registers below.</summary>
    private static ReadOnlySpan<byte> MappedGuests => [10, 11, 12, 13, 14, 15, 8, 9, 2, 1, 16];

    /// <summary>The host registers that hold guest registers.</summary>
    public static ReadOnlySpan<Gpr> AllocatableHosts =>
        [Gpr.Rdi, Gpr.Rsi, Gpr.R8, Gpr.R9, Gpr.R10, Gpr.Rbx, Gpr.R12, Gpr.R13, Gpr.R14, Gpr.R11, Gpr.Rdx];

    /// <summary>Guest register -> host register number or <see cref="InMemory"/>.</summary>
    public static readonly sbyte[] IntegerHost = BuildInteger();

    /// <summary>Floating-point register -> xmm number or <see cref="InMemory"/>.</summary>
    public static readonly sbyte[] FloatHost = BuildFloat();

    /// <summary>Displacement from rbp of a guest register; 32..63 are the floating-point ones.</summary>
    public static int HomeDisplacement(int guest) => guest * 8 - ContextBias;

    public static Mem Home(int guest) => Mem.At(Context, guest * 8 - ContextBias);

    private static sbyte[] BuildInteger()
    {
        var map = new sbyte[32];
        Array.Fill(map, InMemory);
        for (int i = 0; i < MappedGuests.Length; i++) map[MappedGuests[i]] = (sbyte)AllocatableHosts[i];
        return map;
    }

    private static sbyte[] BuildFloat()
    {
        var map = new sbyte[32];
        Array.Fill(map, InMemory);
        if (HostFeatures.HasAvx512Vl)
        {
            // All but the last three fit into xmm3..xmm31: ft9..ft11 stay in memory.
            for (int f = 0; f < 29; f++) map[f] = (sbyte)(f + 3);
            return map;
        }
        ReadOnlySpan<byte> hot = [10, 11, 12, 13, 14, 15, 16, 17, 8, 9, 0, 1, 2]; // fa0-fa7, fs0, fs1, ft0-ft2
        for (int i = 0; i < hot.Length; i++) map[hot[i]] = (sbyte)(i + 3);
        return map;
    }
}
