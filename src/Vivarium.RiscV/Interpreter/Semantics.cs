using System.Runtime.CompilerServices;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>What an instruction does: a static method that returns false when it trapped (see <see cref="Core"/>).</summary>
internal readonly unsafe struct Semantics(delegate*<ref Core, in Instruction, bool> execute)
{
    private readonly delegate*<ref Core, in Instruction, bool> _execute = execute;

    public bool IsNull => _execute == null;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Execute(ref Core core, in Instruction instruction) => _execute(ref core, in instruction);
}

/// <summary>The semantics of every opcode; each extension group adds its own rows. What nobody added is illegal.</summary>
internal sealed unsafe class SemanticsTable
{
    public static readonly SemanticsTable Instance = new();

    private readonly Semantics[] _rows = new Semantics[512];

    private SemanticsTable()
    {
        Array.Fill(_rows, new(&Illegal));
        BaseInteger.AddTo(this);
        ControlStatus.AddTo(this);
        MultiplyDivide.AddTo(this);
        Atomics.AddTo(this);
        FloatSingle.AddTo(this);
        FloatDouble.AddTo(this);
        BitManipulation.AddTo(this);
        CacheBlock.AddTo(this);
        PrivilegedInstructions.AddTo(this);
    }

    public delegate*<ref Core, in Instruction, bool> this[Opcode opcode]
    {
        set => _rows[(int)opcode] = new(value);
    }

    public Semantics Of(Opcode opcode) => _rows[(int)opcode];

    private static bool Illegal(ref Core c, in Instruction i) => c.Illegal(i);
}
