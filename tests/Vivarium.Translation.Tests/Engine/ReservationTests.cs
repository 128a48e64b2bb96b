using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Isa;
using static Vivarium.Translation.Tests.Engine.EngineGuest;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>A store-conditional fails when anything atomic has stored since its load-reserved, also where the old value is back.</summary>
public class ReservationTests
{
    private const ulong Old = 5, Other = 9;

    // With a0 the address, a1 the value there, a2 the one to put there: each stores a2 atomically.
    private static readonly (string Name, uint[] Code)[] Changes =
    [
        ("store-conditional", [R(Opcode.LrD, 13, 10, 0), I(Opcode.Ld, 14, 5, 0), R(Opcode.ScD, 15, 10, 12), Branch(Opcode.Bne, 15, 0, -12)]),
        ("amoswap.d", [R(Opcode.AmoswapD, 13, 10, 12)]),
        ("amoswap.w without result", [R(Opcode.AmoswapW, 0, 10, 12)]),
        ("amoadd.d", [R(Opcode.Sub, 14, 12, 11), R(Opcode.AmoaddD, 13, 10, 14)]),
        ("amoadd.w without result", [R(Opcode.Sub, 14, 12, 11), R(Opcode.AmoaddW, 0, 10, 14)]),
        ("amoxor.d", [R(Opcode.Xor, 14, 12, 11), R(Opcode.AmoxorD, 13, 10, 14)]),
        ("amoxor.w without result", [R(Opcode.Xor, 14, 12, 11), R(Opcode.AmoxorW, 0, 10, 14)]),
        ("amocas.d", [R(Opcode.Add, 13, 11, 0), R(Opcode.AmocasD, 13, 10, 12)]),
        ("fused compare-exchange", [R(Opcode.LrD, 13, 10, 0), Branch(Opcode.Bne, 13, 11, 12), R(Opcode.ScD, 14, 10, 12), Branch(Opcode.Bne, 14, 0, -12)]),
        ("fused addition", [R(Opcode.Sub, 16, 12, 11), R(Opcode.LrW, 13, 10, 0), R(Opcode.Addw, 14, 13, 16), R(Opcode.ScW, 15, 10, 14), Branch(Opcode.Bne, 15, 0, -12)]),
        ("fused update of a byte", [R(Opcode.LrW, 13, 10, 0), I(Opcode.Andi, 14, 13, -256), R(Opcode.Or, 14, 14, 12), R(Opcode.ScW, 15, 10, 14), Branch(Opcode.Bne, 15, 0, -16)]),
    ];

    public static TheoryData<int, bool, bool> Cases()
    {
        var data = new TheoryData<int, bool, bool>();
        for (int i = 0; i < Changes.Length; i++)
        {
            foreach (bool first in (bool[])[false, true])
            {
                foreach (bool second in (bool[])[false, true]) data.Add(i, first, second);
            }
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void StoreConditionalSeesThatTheOldValueIsBack(int change, bool reserverIsTranslated, bool changerIsTranslated)
    {
        using var guest = new EngineGuest();
        using var interpreter = new ReferenceInterpreter();
        Executor reserver = reserverIsTranslated ? guest.Engine : interpreter, changer = changerIsTranslated ? guest.Engine : interpreter;
        const ulong Reserve = Code, Store = Code + 0x100, Change = Code + 0x200;
        guest.Write(Reserve, R(Opcode.LrD, 13, 10, 0), I(Opcode.Ld, 14, 10, 8), Ecall);
        guest.Write(Store, R(Opcode.ScD, 15, 10, 12), Ecall);
        guest.Write(Change, [.. Changes[change].Code, Ecall]);
        Assert.True(guest.Window.TryStore64(Data, Old));
        var reservations = new Reservations();
        using Hart a = guest.NewHart(Reserve), b = guest.NewHart(Change);
        a.Reservations = b.Reservations = reservations;
        a[10] = b[10] = Data;
        b[5] = Data + 64;
        a[12] = 77;
        for (int round = 0; round < 4; round++)
        {
            a.Pc = Reserve;
            Assert.Equal(TrapCause.EnvironmentCall, reserver.Run(a).Cause);
            Assert.Equal(Old, a[13]);
            if (round == 3) break;
            foreach ((ulong from, ulong to) in ((ulong, ulong)[])[(Old, Other), (Other, Old)])
            {
                (b[11], b[12]) = (from, to);
                b.Pc = Change;
                Assert.Equal(TrapCause.EnvironmentCall, changer.Run(b).Cause);
                Assert.True(guest.Window.TryLoad64(Data, out ulong now));
                Assert.Equal(to, now);
            }
            a.Pc = Store;
            Assert.Equal(TrapCause.EnvironmentCall, reserver.Run(a).Cause);
            Assert.Equal(1ul, a[15]);
            Assert.True(guest.Window.TryLoad64(Data, out ulong kept));
            Assert.Equal(Old, kept);
        }
        // And alone it succeeds.
        a.Pc = Store;
        Assert.Equal(TrapCause.EnvironmentCall, reserver.Run(a).Cause);
        Assert.Equal(0ul, a[15]);
        Assert.True(guest.Window.TryLoad64(Data, out ulong stored));
        Assert.Equal(77ul, stored);
    }

    [Fact]
    public void AListThatRecyclesItsNodesStaysWhole()
    {
        // Harts pop by LR, a load of the next node, SC; and push, half of them by fused compare-exchange, half by amocas. Every node is in the list once.
        using var guest = new EngineGuest();
        const int Nodes = 4, Threads = 4, Rounds = 20_000;
        const ulong Head = Data, First = Data + 0x100;
        for (int push = 0; push < 2; push++)
        {
            ulong code = Code + (ulong)push * 0x1000;
            // a0 head, a1 rounds. pop: a2 = node.
            guest.Write(code,
                R(Opcode.LrD, 12, 10, 0),              // 0
                Branch(Opcode.Beq, 12, 0, -4),         // 4: empty: again
                I(Opcode.Ld, 13, 12, 0),               // 8
                R(Opcode.ScD, 14, 10, 13),             // c
                Branch(Opcode.Bne, 14, 0, -16),        // 10
                I(Opcode.Addi, 15, 0, 1),              // 14
                I(Opcode.Addi, 16, 12, 8),             // 18
                R(Opcode.AmoaddD, 17, 16, 15),         // 1c: owners
                Branch(Opcode.Bne, 17, 0, 48),         // 20: a second owner: out to 50
                I(Opcode.Addi, 15, 0, -1),             // 24
                R(Opcode.AmoaddD, 0, 16, 15),          // 28
                I(Opcode.Ld, 13, 10, 0),               // 2c: push
                StoreDouble(12, 13, 0),                // 30: node->next = head
                push == 0 ? R(Opcode.LrD, 14, 10, 0) : R(Opcode.Add, 14, 13, 0),              // 34
                push == 0 ? Branch(Opcode.Bne, 14, 13, -12) : R(Opcode.AmocasD, 14, 10, 12),  // 38
                push == 0 ? R(Opcode.ScD, 14, 10, 12) : Branch(Opcode.Bne, 14, 13, -16),      // 3c
                push == 0 ? Branch(Opcode.Bne, 14, 0, -20) : I(Opcode.Addi, 0, 0, 0),         // 40
                I(Opcode.Addi, 11, 11, -1),            // 44
                Branch(Opcode.Bne, 11, 0, -0x48),      // 48
                Ecall,                                 // 4c
                I(Opcode.Addi, 31, 0, 1),              // 50
                Ecall);
        }
        for (int n = 0; n < Nodes; n++) guest.Window.TryStore64(First + (ulong)n * 64, n == Nodes - 1 ? 0 : First + (ulong)(n + 1) * 64);
        guest.Window.TryStore64(Head, First);
        var threads = new Thread[Threads];
        int wrong = 0;
        for (int t = 0; t < Threads; t++)
        {
            ulong code = Code + (ulong)(t & 1) * 0x1000;
            threads[t] = new Thread(() =>
            {
                using Hart hart = guest.NewHart(code);
                hart[10] = Head;
                hart[11] = Rounds;
                guest.RunToEcall(hart);
                if (hart[31] != 0) Interlocked.Increment(ref wrong);
            }) { IsBackground = true };
            threads[t].Start();
        }
        foreach (Thread thread in threads) Assert.True(thread.Join(120_000), "a thread hangs");
        Assert.Equal(0, wrong);
        int count = 0;
        for (guest.Window.TryLoad64(Head, out ulong node); node != 0; guest.Window.TryLoad64(node, out node)) Assert.True(++count <= Nodes);
        Assert.Equal(Nodes, count);
    }

    private static uint StoreDouble(int address, int value, int imm) =>
        InstructionTable.BaseRow(Opcode.Sd).Match | (uint)address << 15 | (uint)value << 20 | (uint)(imm & 31) << 7 | (uint)(imm >> 5) << 25;
}
