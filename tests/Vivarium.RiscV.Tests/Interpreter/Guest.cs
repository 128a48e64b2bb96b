using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;

namespace Vivarium.RiscV.Tests.Interpreter;

/// <summary>One hart with a small window: code at <see cref="Code"/>, two data pages, a read-only page, and a hole behind each.</summary>
internal sealed class Guest : IDisposable
{
    public const ulong Code = 0x10000;
    public const ulong Data = 0x20000;
    public const ulong ReadOnly = 0x30000;
    public const ulong CodeSize = 0x4000, DataSize = 0x2000;

    public MemoryWindow Window { get; } = MemoryWindow.Reserve(1UL << 20);
    public ReferenceInterpreter Interpreter { get; } = new();
    public Hart Hart { get; }

    public Guest()
    {
        Assert.Equal(0, Window.MapAnonymous(Code, CodeSize, Protection.Read | Protection.Write | Protection.Execute));
        Assert.Equal(0, Window.MapAnonymous(Data, DataSize, Protection.Read | Protection.Write));
        Assert.Equal(0, Window.MapAnonymous(ReadOnly, 0x1000, Protection.Read));
        Hart = new Hart(Window) { Pc = Code, Reservations = new() };
    }

    public ref HartState State => ref Hart.State;

    public ulong this[int x] { get => Hart[x]; set => Hart[x] = value; }

    public unsafe ulong F(int index) => Hart.State.F[index];

    public unsafe void SetF(int index, ulong value) => Hart.State.F[index] = value;

    /// <summary>Writes instructions and points pc at them; the interpreter forgets what was there.</summary>
    public void Load(params ReadOnlySpan<uint> instructions)
    {
        Assert.Equal(instructions.Length * 4, Window.Write(Code, MemoryMarshal.AsBytes(instructions)));
        Interpreter.InvalidateCode(Code, CodeSize);
        Hart.Pc = Code;
    }

    /// <summary>Executes one instruction, given by its bits.</summary>
    public ExecutionExit? Execute(uint bits)
    {
        Load(bits);
        return Interpreter.Step(Hart);
    }

    public ulong Read64(ulong address)
    {
        Assert.True(Window.TryLoad64(address, out var value));
        return value;
    }

    public void Write64(ulong address, ulong value) => Assert.True(Window.TryStore64(address, value));

    public void Dispose()
    {
        Hart.Dispose();
        Interpreter.Dispose();
        Window.Dispose();
    }
}
