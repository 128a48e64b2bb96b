using System.Runtime.InteropServices;
using System.Text;
using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>Two equal guests, one for the interpreter and one for the translator, and the comparison of what they became.</summary>
internal sealed class DifferentialGuest : IDisposable
{
    public const ulong Code = 0x10000, CodeSize = 0x4000, Data = 0x20000, DataSize = 0x2000;

    private readonly MemoryWindow[] _windows = [NewWindow(), NewWindow()];
    private readonly byte[][] _data = [new byte[DataSize], new byte[DataSize]];

    public DifferentialGuest(TranslationOptions? options = null)
    {
        Engine = new TranslationEngine(null, options ?? new TranslationOptions { Validate = true });
        // Data does not execute: nobody says fence.i when it changes.
        Engine.MayExecute = Interpreter.MayExecute = static pc => pc - Code < CodeSize;
        Expected = new Hart(_windows[0]) { Reservations = new() };
        Actual = new Hart(_windows[1]) { Reservations = new() };
    }

    public TranslationEngine Engine { get; }
    public ReferenceInterpreter Interpreter { get; } = new();
    public Hart Expected { get; }
    public Hart Actual { get; }
    public MemoryWindow ActualMemory => _windows[1];

    private static MemoryWindow NewWindow()
    {
        MemoryWindow window = MemoryWindow.Reserve(1UL << 30);
        Assert.Equal(0, window.MapAnonymous(Code, CodeSize, Protection.Read | Protection.Write | Protection.Execute));
        Assert.Equal(0, window.MapAnonymous(Data, DataSize, Protection.Read | Protection.Write));
        return window;
    }

    /// <summary>The same code, data and registers on both sides.</summary>
    public void Load(ReadOnlySpan<uint> code, Random random)
    {
        random.NextBytes(_data[0]);
        foreach (MemoryWindow window in _windows)
        {
            Assert.Equal(0, window.Protect(Code, CodeSize, Protection.Read | Protection.Write));
            Assert.Equal(code.Length * 4, window.Write(Code, MemoryMarshal.AsBytes(code)));
            Assert.Equal(0, window.Protect(Code, CodeSize, Protection.Read | Protection.Execute)); // a stray store must not change code
            Assert.Equal((int)DataSize, window.Write(Data, _data[0]));
        }
        Engine.InvalidateCode(Code, CodeSize);
        Interpreter.InvalidateCode(Code, CodeSize);
        for (int r = 1; r < 32; r++)
        {
            ulong value = (ulong)random.NextInt64(long.MinValue, long.MaxValue);
            value = random.Next(6) switch
            {
                0 => (ulong)(long)random.Next(-4, 5),
                1 => (ulong)(int)value,
                2 => (uint)value,
                3 => 1UL << random.Next(64),
                4 => ulong.MaxValue << random.Next(64),
                _ => value,
            };
            if (Array.IndexOf(ProgramGenerator.Pointers, r) >= 0) value = Data + 0x800 + (ulong)random.Next(8) * 8;
            Expected[r] = Actual[r] = value;
        }
        foreach (Hart hart in new[] { Expected, Actual })
        {
            hart.Pc = Code;
            hart.State.ReservationAddress = ulong.MaxValue;
        }
    }

    /// <summary>Runs both to their trap and compares everything; the message lists the program.</summary>
    public void RunAndCompare(string what, ReadOnlySpan<uint> code)
    {
        ExecutionExit expected = Interpreter.Run(Expected, 100_000);
        if (expected.Kind == ExitKind.Budget) return; // a jump into the middle of something that made a loop without end
        ExecutionExit actual = Engine.Run(Actual);
        var wrong = new StringBuilder();
        if (expected != actual) wrong.Append($"exit: expected {expected}, actual {actual}\n");
        if (Expected.Pc != Actual.Pc) wrong.Append($"pc: expected 0x{Expected.Pc:x}, actual 0x{Actual.Pc:x}\n");
        for (int r = 0; r < 32; r++)
        {
            if (Expected[r] != Actual[r]) wrong.Append($"x{r}: expected 0x{Expected[r]:x}, actual 0x{Actual[r]:x}\n");
        }
        if (Expected.State.ReservationAddress != Actual.State.ReservationAddress) wrong.Append("reservation address\n");
        for (int i = 0; i < 2; i++) Assert.Equal((int)DataSize, _windows[i].Read(Data, _data[i]));
        for (int i = 0; i < (int)DataSize; i++)
        {
            if (_data[0][i] != _data[1][i])
            {
                wrong.Append($"memory 0x{Data + (ulong)i:x}: expected {_data[0][i]:x2}, actual {_data[1][i]:x2}\n");
                break;
            }
        }
        if (wrong.Length == 0) return;
        for (int i = 0; i < code.Length; i++)
        {
            RiscV.Isa.Instruction insn = RiscV.Isa.Decoder.Decode(code[i]);
            wrong.Append($"  0x{Code + (ulong)i * 4:x}: {code[i]:x8} {insn.Opcode} rd {insn.Rd} rs1 {insn.Rs1} rs2 {insn.Rs2} imm {insn.Imm}\n");
        }
        Assert.Fail($"{what}, stopped at 0x{Expected.Pc:x}\n{wrong}");
    }

    public void Dispose()
    {
        Expected.Dispose();
        Actual.Dispose();
        Engine.Dispose();
        Interpreter.Dispose();
        foreach (MemoryWindow window in _windows) window.Dispose();
    }
}
