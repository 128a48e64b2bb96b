using System.Numerics;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Isa;
using Vivarium.Testing;
using static Vivarium.RiscV.Tests.Interpreter.Guest;

namespace Vivarium.RiscV.Tests.Interpreter;

/// <summary>Loads, stores and atomics against an array of bytes and unbounded integers.</summary>
public sealed class MemoryModelTests : IDisposable
{
    private readonly Guest _guest = new();

    public void Dispose() => _guest.Dispose();

    private static readonly (Opcode Opcode, int Size, bool Signed)[] Loads =
    [
        (Opcode.Lb, 1, true), (Opcode.Lh, 2, true), (Opcode.Lw, 4, true), (Opcode.Ld, 8, true),
        (Opcode.Lbu, 1, false), (Opcode.Lhu, 2, false), (Opcode.Lwu, 4, false),
    ];

    private static readonly (Opcode Opcode, int Size)[] Stores = [(Opcode.Sb, 1), (Opcode.Sh, 2), (Opcode.Sw, 4), (Opcode.Sd, 8)];

    [Fact]
    public void LoadsAtEveryAlignment()
    {
        var bytes = new byte[DataSize];
        new Random(1).NextBytes(bytes);
        _guest.Window.Write(Data, bytes);
        foreach (var (opcode, size, signed) in Loads)
        {
            foreach (var imm in (int[])[0, 2047, -2048, -1])
            {
                _guest.Load(Encoder.Encode(opcode, 6, 5, imm: imm));
                for (var at = 0x1000 - 16; at < 0x1000 + 16; at++) // across a page boundary too
                {
                    _guest[5] = Data + (ulong)(at - imm);
                    _guest.Hart.Pc = Code;
                    Assert.Null(_guest.Interpreter.Step(_guest.Hart));
                    var value = new BigInteger(bytes.AsSpan(at, size), isUnsigned: !signed);
                    Assert.Equal((ulong)(value & ulong.MaxValue), _guest[6]);
                }
            }
        }
    }

    [Fact]
    public void StoresAtEveryAlignment()
    {
        var random = new Random(2);
        var bytes = new byte[DataSize];
        foreach (var (opcode, size) in Stores)
        {
            for (var at = 0x1000 - 16; at < 0x1000 + 16; at++)
            {
                random.NextBytes(bytes);
                _guest.Window.Write(Data, bytes);
                var value = SpecialValues.RandomInteger(random);
                (_guest[5], _guest[6]) = (Data + (ulong)at - 7, value);
                Assert.Null(_guest.Execute(Encoder.Encode(opcode, rs1: 5, rs2: 6, imm: 7)));
                BitConverter.GetBytes(value).AsSpan(0, size).CopyTo(bytes.AsSpan(at));
                var actual = new byte[DataSize];
                _guest.Window.Read(Data, actual);
                Assert.Equal(bytes, actual);
            }
        }
    }

    [Fact]
    public void FloatLoadsAndStores()
    {
        _guest.Write64(Data, 0x1122334455667788);
        _guest[5] = Data;
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.Flw, 1, 5, imm: 2)));
        Assert.Equal(0xffffffff_33445566, _guest.F(1));
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.Fld, 2, 5)));
        Assert.Equal(0x1122334455667788UL, _guest.F(2));
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.Fsw, rs1: 5, rs2: 2, imm: 9))); // not boxed: the low half all the same
        Assert.Equal(0x0000005566778800UL, _guest.Read64(Data + 8));
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.Fsd, rs1: 5, rs2: 1, imm: 16)));
        Assert.Equal(0xffffffff_33445566, _guest.Read64(Data + 16));
    }

    [Fact]
    public void ReadModifyWrite()
    {
        var random = new Random(3);
        foreach (var wide in (bool[])[false, true])
        {
            var width = wide ? 64 : 32;
            BigInteger Unsigned(ulong v) => v & (ulong.MaxValue >> (64 - width));
            BigInteger Signed(ulong v) => wide ? (long)v : (int)v;
            for (var n = 0; n < 9; n++)
            {
                var opcode = (wide ? Opcode.AmoswapD : Opcode.AmoswapW) + (ushort)n;
                var name = InstructionTable.BaseRow(opcode).Mnemonic.Split('.')[0];
                for (var round = 0; round < 3000; round++)
                {
                    var (memory, operand) = (SpecialValues.RandomInteger(random), SpecialValues.RandomInteger(random));
                    var upper = random.NextInt64();
                    _guest.Write64(Data + 8, memory);
                    _guest.Write64(Data + 16, (ulong)upper);
                    (_guest[5], _guest[6]) = (Data + 8, operand);
                    Assert.Null(_guest.Execute(Encoder.Encode(opcode, 7, 5, 6, aqrl: round & 3)));
                    var result = name switch
                    {
                        "amoswap" => Unsigned(operand),
                        "amoadd" => Unsigned(memory) + Unsigned(operand),
                        "amoxor" => Unsigned(memory) ^ Unsigned(operand),
                        "amoand" => Unsigned(memory) & Unsigned(operand),
                        "amoor" => Unsigned(memory) | Unsigned(operand),
                        "amomin" => BigInteger.Min(Signed(memory), Signed(operand)),
                        "amomax" => BigInteger.Max(Signed(memory), Signed(operand)),
                        "amominu" => BigInteger.Min(Unsigned(memory), Unsigned(operand)),
                        _ => BigInteger.Max(Unsigned(memory), Unsigned(operand)),
                    };
                    var low = (ulong)(result & (ulong.MaxValue >> (64 - width)));
                    Assert.Equal(wide ? low : memory & 0xffff_ffff_0000_0000 | low, _guest.Read64(Data + 8));
                    Assert.Equal((ulong)upper, _guest.Read64(Data + 16));
                    Assert.Equal((ulong)(Signed(memory) & ulong.MaxValue), _guest[7]);
                }
            }
        }
    }

    [Fact]
    public void AtomicsMustBeAligned()
    {
        foreach (var row in InstructionTable.Rows)
        {
            if (row.Class != SemanticsClass.Atomic) continue;
            var size = row.Mnemonic.EndsWith(".w") ? 4 : row.Mnemonic.EndsWith(".d") ? 8 : 16;
            var load = row.Opcode is Opcode.LrW or Opcode.LrD;
            for (var offset = 0; offset < 16; offset++)
            {
                _guest[6] = Data + (ulong)offset;
                var exit = _guest.Execute(Encoder.Encode(row.Opcode, 8, 6, load ? 0 : 10));
                if (offset % size == 0) Assert.Null(exit);
                else Assert.Equal(new ExecutionExit(ExitKind.Trap, load ? TrapCause.LoadAddressMisaligned : TrapCause.StoreAddressMisaligned, Data + (ulong)offset), exit);
            }
            // A fault is a store's, save for load-reserved; read-only memory will not do even where nothing changes.
            _guest[6] = ReadOnly;
            _guest.State.ReservationAddress = ReadOnly;
            _guest.State.ReservationValue = 0;
            var fault = _guest.Execute(Encoder.Encode(row.Opcode, 8, 6, load ? 0 : 10));
            if (load) Assert.Null(fault);
            else Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.StorePageFault, ReadOnly, 11), fault);
        }
    }

    [Fact]
    public void LoadReservedStoreConditional()
    {
        uint lrW = Encoder.Encode(Opcode.LrW, 7, 5), scW = Encoder.Encode(Opcode.ScW, 8, 5, 6);
        uint lrD = Encoder.Encode(Opcode.LrD, 7, 5), scD = Encoder.Encode(Opcode.ScD, 8, 5, 6);
        _guest.Write64(Data, 0x1111_2222_8333_4444);
        (_guest[5], _guest[6]) = (Data, 0xaaaa_bbbb_cccc_dddd);

        Run(lrW, scW);
        Assert.Equal((0xffff_ffff_8333_4444, 0UL, 0x1111_2222_cccc_ddddUL), (_guest[7], _guest[8], _guest.Read64(Data)));
        Run(scW); // the reservation is spent
        Assert.Equal(1UL, _guest[8]);
        Run(lrD, scD);
        Assert.Equal((0UL, 0xaaaa_bbbb_cccc_ddddUL), (_guest[8], _guest.Read64(Data)));

        // Another address; memory changed in between; a second load-reserved moves the reservation.
        Run(lrD);
        _guest[5] = Data + 8;
        Run(scD);
        Assert.Equal(1UL, _guest[8]);
        _guest[5] = Data;
        Run(scD); // the failed one spent it too
        Assert.Equal(1UL, _guest[8]);
        Run(lrD);
        _guest.Write64(Data, 5);
        Run(scD);
        Assert.Equal((1UL, 5UL), (_guest[8], _guest.Read64(Data)));
        Run(lrD);
        _guest[5] = Data + 8;
        Run(lrD, scD);
        Assert.Equal((0UL, 0xaaaa_bbbb_cccc_ddddUL), (_guest[8], _guest.Read64(Data + 8)));

        void Run(params uint[] code)
        {
            foreach (var bits in code) Assert.Null(_guest.Execute(bits));
        }
    }

    [Fact]
    public void CompareAndSwap()
    {
        var random = new Random(4);
        for (var round = 0; round < 2000; round++)
        {
            var (m0, m1) = (SpecialValues.RandomInteger(random), SpecialValues.RandomInteger(random));
            var (e0, e1) = (random.Next(2) == 0 ? m0 : SpecialValues.RandomInteger(random), random.Next(2) == 0 ? m1 : SpecialValues.RandomInteger(random));
            var (d0, d1) = (SpecialValues.RandomInteger(random), SpecialValues.RandomInteger(random));
            foreach (var opcode in (Opcode[])[Opcode.AmocasW, Opcode.AmocasD, Opcode.AmocasQ])
            {
                _guest.Write64(Data, m0);
                _guest.Write64(Data + 8, m1);
                (_guest[5], _guest[10], _guest[11], _guest[12], _guest[13]) = (Data, e0, e1, d0, d1);
                Assert.Null(_guest.Execute(Encoder.Encode(opcode, 10, 5, 12)));
                var (r0, r1, x0, x1) = opcode switch
                {
                    Opcode.AmocasW => ((uint)m0 == (uint)e0 ? m0 >> 32 << 32 | (uint)d0 : m0, m1, (ulong)(int)m0, e1),
                    Opcode.AmocasD => (m0 == e0 ? d0 : m0, m1, m0, e1),
                    _ => (m0 == e0 && m1 == e1 ? d0 : m0, m0 == e0 && m1 == e1 ? d1 : m1, m0, m1),
                };
                Assert.Equal((r0, r1, x0, x1), (_guest.Read64(Data), _guest.Read64(Data + 8), _guest[10], _guest[11]));
            }
        }
        // x0 as a pair: zero, zero; and nothing is written, x1 neither.
        _guest.Write64(Data, 0);
        _guest.Write64(Data + 8, 0);
        (_guest[1], _guest[5], _guest[12], _guest[13]) = (99, Data, 3, 4);
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.AmocasQ, 0, 5, 12)));
        Assert.Equal((3UL, 4UL, 99UL), (_guest.Read64(Data), _guest.Read64(Data + 8), _guest[1]));
        Assert.Equal(TrapCause.IllegalInstruction, _guest.Execute(Encoder.Encode(Opcode.AmocasQ, 11, 5, 12))!.Value.Cause);
        Assert.Equal(TrapCause.IllegalInstruction, _guest.Execute(Encoder.Encode(Opcode.AmocasQ, 10, 5, 13))!.Value.Cause);
    }

    /// <summary>Four harts on one counter, by each way of updating it: no update is lost.</summary>
    [Fact]
    public async Task HartsDoNotLoseUpdates()
    {
        const int harts = 4, rounds = 20_000;
        uint[] code =
        [
            Encoder.Encode(Opcode.Addi, 6, 0, imm: 1),
            // loop: amoadd.d x0, t1, (s0); lr/sc on s1; amocas on s2
            Encoder.Encode(Opcode.AmoaddD, 0, 8, 6),
            Encoder.Encode(Opcode.LrW, 7, 9),
            Encoder.Encode(Opcode.Addi, 7, 7, imm: 1),
            Encoder.Encode(Opcode.ScW, 28, 9, 7),
            Encoder.Encode(Opcode.Bne, rs1: 28, imm: -12),
            Encoder.Encode(Opcode.Ld, 10, 18),
            Encoder.Encode(Opcode.Addi, 12, 10, imm: 1),
            Encoder.Encode(Opcode.Addi, 13, 10),
            Encoder.Encode(Opcode.AmocasD, 10, 18, 12),
            Encoder.Encode(Opcode.Bne, rs1: 10, rs2: 13, imm: -16),
            Encoder.Encode(Opcode.Addi, 11, 11, imm: -1),
            Encoder.Encode(Opcode.Bne, rs1: 11, imm: -44),
            Encoder.Encode(Opcode.Ecall),
        ];
        _guest.Load(code);
        var tasks = Enumerable.Range(0, harts).Select(_ => Task.Factory.StartNew(() =>
        {
            using var hart = new Hart(_guest.Window) { Pc = Code, Reservations = _guest.Hart.Reservations };
            (hart[8], hart[9], hart[18], hart[11]) = (Data, Data + 64, Data + 128, rounds);
            return _guest.Interpreter.Run(hart).Cause;
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)).ToArray();
        Assert.All(await Task.WhenAll(tasks), cause => Assert.Equal(TrapCause.EnvironmentCall, cause));
        Assert.Equal((ulong)(harts * rounds), _guest.Read64(Data));
        Assert.Equal((ulong)(harts * rounds), _guest.Read64(Data + 64));
        Assert.Equal((ulong)(harts * rounds), _guest.Read64(Data + 128));
    }

    [Fact]
    public void HintsAndFencesDoNothing()
    {
        for (var r = 1; r < 32; r++) _guest[r] = (ulong)r * 0x0101_0101_0101;
        Opcode[] all = [Opcode.Fence, Opcode.FenceTso, Opcode.FenceI, Opcode.Pause, Opcode.WrsNto, Opcode.WrsSto, Opcode.PrefetchI, Opcode.PrefetchR, Opcode.PrefetchW];
        foreach (var opcode in all)
        {
            Assert.Null(_guest.Execute(Encoder.Encode(opcode, rs1: 9, imm: 64, aqrl: 0xff)));
            Assert.Equal(Code + 4, _guest.Hart.Pc);
            for (var r = 1; r < 32; r++) Assert.Equal((ulong)r * 0x0101_0101_0101, _guest[r]);
        }
    }
}
