using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;
using static Vivarium.Testing.Encoder;

namespace Vivarium.RiscV.Tests.Privileged;

/// <summary>One hart with a privileged unit over 1 MiB of RAM, stepped by the reference interpreter, and a page-table builder.</summary>
internal sealed class PrivilegedGuest : IDisposable
{
    public const ulong Ram = 0x8000_0000, RamSize = 1 << 20;

    /// <summary>Code in M-mode; a page for data; the root page table, with room for more behind it.</summary>
    public const ulong Code = Ram, Data = Ram + 0x8000, Root = Ram + 0x1_0000;

    public const int Mstatus = 0x300, Medeleg = 0x302, Mideleg = 0x303, Mie = 0x304, Mtvec = 0x305, Mcounteren = 0x306, Menvcfg = 0x30a, Mepc = 0x341,
        Mcause = 0x342, Mtval = 0x343, Mip = 0x344, Sstatus = 0x100, Sie = 0x104, Stvec = 0x105, Scounteren = 0x106, Sepc = 0x141, Scause = 0x142,
        Stval = 0x143, Sip = 0x144, Stimecmp = 0x14d, Satp = 0x180, Senvcfg = 0x10a;

    public const ulong V = 1, R = 2, W = 4, X = 8, U = 16, G = 32, A = 64, D = 128, N = 1UL << 63;
    public const ulong Sum = 1 << 18, Mxr = 1 << 19, Mprv = 1 << 17, Tvm = 1 << 20, Tw = 1 << 21, Tsr = 1 << 22, Fs = 3 << 13;

    private sealed class Bus(MemoryWindow ram) : PhysicalBus
    {
        public override ulong RamBase => PrivilegedGuest.Ram;
        public override ulong RamSize => PrivilegedGuest.RamSize;
        public override MemoryWindow Ram => ram;

        /// <summary>A device of one page at 0x1000_0000 that reads as its offset.</summary>
        public override bool TryRead(ulong address, int size, out ulong value)
        {
            value = address & 0xfff;
            if (address >> 12 == 0x1_0000) return true;
            if (address - RamBase >= RamSize) return false;
            Span<byte> bytes = stackalloc byte[8];
            bytes.Clear();
            ram.Read(address - RamBase, bytes[..size]);
            value = BitConverter.ToUInt64(bytes);
            return true;
        }

        public override bool TryWrite(ulong address, int size, ulong value)
        {
            if (address >> 12 == 0x1_0000) return true;
            return address - RamBase < RamSize && ram.Write(address - RamBase, BitConverter.GetBytes(value).AsSpan(0, size)) == size;
        }
    }

    private sealed class Environment : IHartEnvironment
    {
        public ulong Compare = ulong.MaxValue;
        public ulong Time { get; set; } = 1000;
        public void SetSupervisorTimer(ulong compare) => Compare = compare;
    }

    private readonly MemoryWindow _ram = MemoryWindow.Reserve(RamSize);
    private readonly Environment _environment = new();
    private ulong _nextTable = Root + 0x1000;

    public PrivilegedGuest(HartFeatures? features = null)
    {
        Assert.Equal(0, _ram.MapAnonymous(0, RamSize, Protection.Read | Protection.Write));
        Hart = new Hart(_ram) { Reservations = new() };
        Unit = new PrivilegedUnit(Hart, 3, features ?? HartFeatures.Full, new Bus(_ram), _environment);
        OpenPmp();
    }

    public Hart Hart { get; }
    public PrivilegedUnit Unit { get; }
    public ReferenceInterpreter Interpreter { get; } = new();
    public ulong TimerCompare => _environment.Compare;

    public ulong this[int csr]
    {
        get => Unit.ReadCsr(csr);
        set => Unit.WriteCsr(csr, value);
    }

    public void OpenPmp()
    {
        this[0x3b0] = ulong.MaxValue;
        this[0x3a0] = 0x1f;
    }

    public void Write(ulong physical, ulong value) => Assert.True(_ram.TryStore64(physical - Ram, value));

    public ulong Read(ulong physical)
    {
        Assert.True(_ram.TryLoad64(physical - Ram, out var value));
        return value;
    }

    public void Write32(ulong physical, uint value) => Assert.True(_ram.TryStore32(physical - Ram, value));

    /// <summary>Goes to a mode by way of M-mode: whatever happened before, mstatus keeps its other fields.</summary>
    public void Enter(PrivilegeMode mode)
    {
        var medeleg = this[Medeleg];
        this[Medeleg] = 0;
        Unit.EnterTrap(TrapCause.IllegalInstruction, 0);
        this[Medeleg] = medeleg;
        if (mode == PrivilegeMode.Machine) return;
        this[Mstatus] = (this[Mstatus] & ~(3UL << 11)) | (ulong)mode << 11;
        Write32(Code, Encode(Opcode.Mret));
        Unit.FenceInstructions();
        Hart.Pc = Code;
        Assert.Null(Interpreter.Step(Hart));
        Assert.Equal(mode, Unit.Mode);
    }

    /// <summary>Executes one instruction at a virtual address that is mapped to <see cref="Code"/>.</summary>
    public ExecutionExit? Execute(uint bits, ulong pc = Code)
    {
        Write32(Code + (pc & 0xfff), bits);
        Unit.FenceInstructions();
        Hart.Pc = pc;
        return Interpreter.Step(Hart);
    }

    /// <summary>Writes satp for a number of levels, with an empty root table.</summary>
    public void UsePaging(int levels)
    {
        _nextTable = Root + 0x1000;
        for (var i = 0UL; i < 512; i++) Write(Root + i * 8, 0);
        this[Satp] = (ulong)(levels + 5) << 60 | Root >> 12;
        Unit.FlushTranslations();
    }

    /// <summary>Maps a page, or a superpage at a higher level, by a leaf with these flags; makes the tables above it. Returns the leaf's address.</summary>
    public ulong Map(int levels, ulong address, ulong physical, ulong flags, int level = 0)
    {
        var table = Root;
        for (var i = levels - 1; i > level; i--)
        {
            var at = table + (address >> (12 + 9 * i) & 511) * 8;
            var pte = Read(at);
            if ((pte & V) == 0)
            {
                for (var j = 0UL; j < 512; j++) Write(_nextTable + j * 8, 0);
                pte = _nextTable >> 12 << 10 | V;
                Write(at, pte);
                _nextTable += 0x1000;
                Assert.True(_nextTable < Ram + RamSize);
            }
            table = (pte >> 10 & ((1UL << 44) - 1)) << 12;
        }
        var leaf = table + (address >> (12 + 9 * level) & 511) * 8;
        Write(leaf, physical >> 12 << 10 | flags);
        return leaf;
    }

    public void Dispose()
    {
        Hart.Dispose();
        Interpreter.Dispose();
        _ram.Dispose();
    }
}
