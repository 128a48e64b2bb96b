using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>A translator over a small address space, and encoders for the few instructions that the tests write.</summary>
internal sealed class EngineGuest : IDisposable
{
    public const ulong Code = 0x10000, CodeSize = 0x40000, Data = 0x100000, DataSize = 0x10000;
    public const uint Ecall = 0x73, FenceI = 0x100F;

    public MemoryWindow Window { get; } = MemoryWindow.Reserve(1UL << 30);
    public TranslationEngine Engine { get; }

    /// <param name="farm">The optimising tier's; null for none.</param>
    /// <param name="quickRuns">See <see cref="TranslationOptions.QuickRuns"/>; the default where negative.</param>
    public EngineGuest(Optimizing.CompileFarm? farm = null, int quickRuns = -1)
    {
        var options = new TranslationOptions { Validate = true, Farm = farm };
        Engine = new TranslationEngine(null, quickRuns < 0 ? options : options with { QuickRuns = quickRuns });
        Assert.Equal(0, Window.MapAnonymous(Code, CodeSize, Protection.Read | Protection.Write | Protection.Execute));
        Assert.Equal(0, Window.MapAnonymous(Data, DataSize, Protection.Read | Protection.Write));
    }

    public Hart NewHart(ulong pc) => new(Window) { Pc = pc };

    public void Write(ulong address, params ReadOnlySpan<uint> code) =>
        Assert.Equal(code.Length * 4, Window.Write(address, MemoryMarshal.AsBytes(code)));

    public static uint I(Opcode opcode, int rd, int rs1, int imm) =>
        InstructionTable.BaseRow(opcode).Match | (uint)rd << 7 | (uint)rs1 << 15 | (uint)imm << 20;

    public static uint R(Opcode opcode, int rd, int rs1, int rs2) =>
        InstructionTable.BaseRow(opcode).Match | (uint)rd << 7 | (uint)rs1 << 15 | (uint)rs2 << 20;

    /// <summary>A store at offset 0.</summary>
    public static uint Store(Opcode store, int rs1, int rs2) => InstructionTable.BaseRow(store).Match | (uint)rs1 << 15 | (uint)rs2 << 20;

    public static uint Branch(Opcode opcode, int rs1, int rs2, int offset) =>
        InstructionTable.BaseRow(opcode).Match | (uint)rs1 << 15 | (uint)rs2 << 20
        | (uint)(offset >> 11 & 1) << 7 | (uint)(offset >> 1 & 15) << 8 | (uint)(offset >> 5 & 63) << 25 | (uint)(offset >> 12 & 1) << 31;

    public static uint Jal(int rd, int offset) =>
        InstructionTable.BaseRow(Opcode.Jal).Match | (uint)rd << 7
        | (uint)(offset >> 12 & 0xFF) << 12 | (uint)(offset >> 11 & 1) << 20 | (uint)(offset >> 1 & 0x3FF) << 21 | (uint)(offset >> 20 & 1) << 31;

    /// <summary>Runs to the next ecall.</summary>
    public void RunToEcall(Hart hart)
    {
        ExecutionExit exit = Engine.Run(hart);
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.EnvironmentCall), exit);
    }

    public void Dispose()
    {
        Engine.Dispose();
        Window.Dispose();
    }
}
