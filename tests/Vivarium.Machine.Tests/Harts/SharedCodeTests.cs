using Vivarium.RiscV.Isa;
using static Vivarium.Testing.Encoder;

namespace Vivarium.Machine.Tests.Harts;

/// <summary>Code that several harts share: one writes what another executes, and a cache that is too small for all of it.</summary>
public sealed class SharedCodeTests
{
    private const ulong Writer = SmpGuest.Ram + 0x4000, Runner = SmpGuest.Ram + 0x5000, Flag = SmpGuest.Ram + 0x8000, Wrong = SmpGuest.Ram + 0x8100, Page = SmpGuest.Ram + 0x1_0000;

    private static uint[] Address(int register, ulong address) =>
        [Encode(Opcode.Lui, rd: register, imm: unchecked((int)(uint)address)), Encode(Opcode.Slli, rd: register, rs1: register, imm: 32), Encode(Opcode.Srli, rd: register, rs1: register, imm: 32)];

    public enum Synchronization
    {
        /// <summary>Old code or new code.</summary>
        None,

        /// <summary>The hart that executes uses fence.i.</summary>
        Local,

        /// <summary>The hart that writes has all harts do fence.i, by the SBI.</summary>
        Remote,
    }

    /// <summary>One hart writes <c>li a0, n; ret</c> over and over and says so; the other one calls it. With a fence.i it must see n; without, it may still run what
    /// it saw before, and nothing else.</summary>
    [Theory]
    [InlineData(Synchronization.None, false), InlineData(Synchronization.Local, false), InlineData(Synchronization.Remote, false), InlineData(Synchronization.Local, true)]
    public void AHartExecutesWhatAnotherWrote(Synchronization how, bool byBytes)
    {
        const int flag = 20, page = 21, n = 22, code = 23, last = 24, wrong = 25, shown = 26, t = 28;
        const int rounds = 400;
        using var guest = new SmpGuest(2, translated: true);
        uint[] prologue = [.. guest.Meet(), .. Address(flag, Flag), .. Address(page, Page), Encode(Opcode.Addi, rd: n), Encode(Opcode.Addi, rd: last, imm: rounds), Encode(Opcode.Addi, rd: shown), Encode(Opcode.Addi, rd: wrong)];
        // The writer: n++, the instruction, whole or byte by byte from the end; flag = n; wait until the runner's acknowledgement at flag+64 is n.
        uint[] store = byBytes
            ? [.. ((int[])[3, 2, 1, 0]).SelectMany(i => new[] { Encode(Opcode.Srli, rd: t, rs1: code, imm: i * 8), Encode(Opcode.Sb, rs1: page, rs2: t, imm: i) })]
            : [Encode(Opcode.Sw, rs1: page, rs2: code)];
        uint[] writer = [Encode(Opcode.Addi, rd: n, rs1: n, imm: 1), Encode(Opcode.Slli, rd: code, rs1: n, imm: 20), Encode(Opcode.Addi, rd: code, rs1: code, imm: 0x513), .. store,
            .. how == Synchronization.Remote ? (uint[])[Encode(Opcode.Addi, rd: 17, imm: 1), Encode(Opcode.Ecall)] : [], 0x0330000f, Encode(Opcode.Sd, rs1: flag, rs2: n),
            Encode(Opcode.Ld, rd: t, rs1: flag, imm: 64), Encode(Opcode.Bne, rs1: t, rs2: n, imm: -4)];
        guest.Load(Writer, [.. prologue, .. writer, Encode(Opcode.Bne, rs1: n, rs2: last, imm: -4 * writer.Length), .. SmpGuest.Finish()]);
        // The runner: n++, wait for the flag; call; what it returned must be n (or, without synchronization, what it returned last).
        uint[] runner = [Encode(Opcode.Addi, rd: n, rs1: n, imm: 1), Encode(Opcode.Ld, rd: t, rs1: flag), Encode(Opcode.Bne, rs1: t, rs2: n, imm: -4),
            .. how == Synchronization.Local ? (uint[])[Encode(Opcode.FenceI)] : [], Encode(Opcode.Jalr, rd: 1, rs1: page), Encode(Opcode.Addi, rd: code, rs1: 10),
            .. how == Synchronization.None ? (uint[])[Encode(Opcode.Beq, rs1: code, rs2: shown, imm: 12)] : [],
            Encode(Opcode.Beq, rs1: code, rs2: n, imm: 8), Encode(Opcode.Addi, rd: wrong, rs1: wrong, imm: 1), Encode(Opcode.Addi, rd: shown, rs1: code),
            Encode(Opcode.Sd, rs1: flag, rs2: wrong, imm: 128), 0x0330000f, Encode(Opcode.Sd, rs1: flag, rs2: n, imm: 64)];
        guest.Load(Runner, [.. prologue, .. runner, Encode(Opcode.Bne, rs1: n, rs2: last, imm: -4 * runner.Length), .. SmpGuest.Finish()]);
        guest.Load(Page, Encode(Opcode.Addi, rd: 10), Encode(Opcode.Jalr, rs1: 1));
        guest.Run(hart => (hart == 0 ? Writer : Runner, 0));
        Assert.Equal((ulong)rounds, guest.Read(Flag + 64));
        Assert.Equal(0UL, guest.Read(Flag + 128));
    }

    /// <summary>A store that looked its page up before that was translated, and comes to pass afterwards, unseen: the other hart was put to rest in between. That
    /// hart is in its loop meanwhile; the test is its store.</summary>
    [Theory]
    [InlineData(false), InlineData(true)]
    public void AFenceSeesAStoreThatWasHeldUp(bool remote)
    {
        const int flag = 20, page = 21, t = 28;
        using var guest = new SmpGuest(2, translated: true);
        uint[] prologue = [.. guest.Meet(), .. Address(flag, Flag), .. Address(page, Page)];
        uint[] fence = remote ? [Encode(Opcode.Addi, rd: 17, imm: 1), Encode(Opcode.Ecall)] : [Encode(Opcode.FenceI)];
        guest.Load(Runner, [.. prologue, Encode(Opcode.Jalr, rd: 1, rs1: page), Encode(Opcode.Sd, rs1: flag, rs2: 10, imm: 64),
            Encode(Opcode.Ld, rd: t, rs1: flag), Encode(Opcode.Beq, rs1: t, imm: -4), .. fence, Encode(Opcode.Jalr, rd: 1, rs1: page), Encode(Opcode.Sd, rs1: flag, rs2: 10, imm: 72), .. SmpGuest.Finish()]);
        guest.Load(Writer, [.. prologue, Encode(Opcode.Ld, rd: t, rs1: flag, imm: 72), Encode(Opcode.Beq, rs1: t, imm: -4), .. SmpGuest.Finish()]);
        guest.Load(Page, Encode(Opcode.Addi, rd: 10, imm: 1), Encode(Opcode.Jalr, rs1: 1));
        var store = new Thread(() =>
        {
            SpinWait.SpinUntil(() => guest.Read(Flag + 64) == 1, 60_000);
            guest.Memory.Ram.Store32(Page - SmpGuest.Ram, Encode(Opcode.Addi, rd: 10, imm: 2));
            guest.Write(Flag, 1);
        });
        store.Start();
        guest.Run(hart => (hart == 0 ? Runner : Writer, 0));
        store.Join();
        Assert.Equal((1UL, 2UL), (guest.Read(Flag + 64), guest.Read(Flag + 72)));
    }

    /// <summary>Harts run through more code than the cache holds, each in another order, while the oldest goes all the time: they compute what they should.</summary>
    [Fact]
    public void EvictionDoesNotDisturbOtherHarts()
    {
        const int harts = 4, functions = 3000, instructions = 60, passes = 3;
        const ulong start = SmpGuest.Ram + 0x10_0000;
        using var guest = new SmpGuest(harts, translated: true, cacheSize: 1 << 20);
        var random = new Random(5);
        var constants = new int[functions][];
        for (var f = 0; f < functions; f++)
        {
            constants[f] = [.. Enumerable.Range(0, instructions / 3).Select(_ => random.Next(-2048, 2048))];
            // a0 = (a0 rotated by 5) + constant, over and over.
            guest.Load(start + (ulong)f * 256, [.. constants[f].SelectMany(c => new[]
                { Encode(Opcode.Rori, rd: 10, rs1: 10, imm: 59), Encode(Opcode.Addi, rd: 10, rs1: 10, imm: c), Encode(Opcode.Xor, rd: 10, rs1: 10, rs2: 18) }), Encode(Opcode.Jalr, rs1: 1)]);
        }
        static int Step(int hart) => new[] { 1, 7, 1009, 2999 }[hart]; // all of them prime to the number of functions
        for (var hart = 0; hart < harts; hart++)
        {
            const int at = 20, index = 21, left = 22, step = 23, count = 24;
            uint[] loop = [Encode(Opcode.Slli, rd: 28, rs1: index, imm: 8), Encode(Opcode.Add, rd: 28, rs1: 28, rs2: at), Encode(Opcode.Jalr, rd: 1, rs1: 28),
                Encode(Opcode.Add, rd: index, rs1: index, rs2: step), Encode(Opcode.Blt, rs1: index, rs2: count, imm: 8), Encode(Opcode.Sub, rd: index, rs1: index, rs2: count),
                Encode(Opcode.Addi, rd: left, rs1: left, imm: -1)];
            guest.Load(SmpGuest.Ram + 0x4000 + (ulong)hart * 0x1000, [.. guest.Meet(), .. Address(at, start), Encode(Opcode.Addi, rd: 10), Encode(Opcode.Addi, rd: 18, imm: 0x5a5), Encode(Opcode.Addi, rd: index),
                Encode(Opcode.Lui, rd: count, imm: 4096), Encode(Opcode.Addi, rd: count, rs1: count, imm: functions - 4096), Encode(Opcode.Lui, rd: step, imm: Step(hart) + 2048 >> 12 << 12), Encode(Opcode.Addi, rd: step, rs1: step, imm: Step(hart) << 20 >> 20),
                Encode(Opcode.Addi, rd: 29, imm: passes), Encode(Opcode.Mul, rd: left, rs1: count, rs2: 29),
                .. loop, Encode(Opcode.Bne, rs1: left, imm: -4 * loop.Length), .. Address(28, Wrong & ~0xfffUL), Encode(Opcode.Sd, rs1: 28, rs2: 10, imm: 256 + hart * 8), .. SmpGuest.Finish()]);
        }
        guest.Run(hart => (SmpGuest.Ram + 0x4000 + (ulong)hart * 0x1000, 0));
        for (var hart = 0; hart < harts; hart++)
        {
            ulong expected = 0;
            for (int i = 0, f = 0; i < passes * functions; i++, f = (f + Step(hart)) % functions)
            {
                foreach (var c in constants[f]) expected = (System.Numerics.BitOperations.RotateLeft(expected, 5) + (ulong)c) ^ 0x5a5;
            }
            Assert.Equal(expected, guest.Read(Wrong + (ulong)hart * 8));
        }
        Assert.InRange(guest.Engine!.Statistics.Evictions, 1, long.MaxValue);
    }
}
