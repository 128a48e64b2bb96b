using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using static Vivarium.Translation.Tests.Engine.EngineGuest;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>Loops that never look at a flag are interrupted all the same, with exact state, as often as one likes.</summary>
public class KickTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(int.MaxValue)]
    public void JumpToItself(int quickRuns) => Interrupt(quickRuns, Jal(0, 0));

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(int.MaxValue)]
    public void CountingLoop(int quickRuns) => Interrupt(quickRuns, I(Opcode.Addi, 10, 10, 1), I(Opcode.Addi, 20, 20, 1), Jal(0, -8));

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(int.MaxValue)]
    public void LoopOfTwoBlocks(int quickRuns) =>
        // The branch leads forward to a block of its own, which jumps back.
        Interrupt(quickRuns, I(Opcode.Addi, 10, 10, 1), Branch(Opcode.Bne, 10, 0, 8), Ecall, I(Opcode.Addi, 20, 20, 1), Jal(0, -16));

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(int.MaxValue)]
    public void IndirectLoop(int quickRuns) => Interrupt(quickRuns, I(Opcode.Addi, 10, 10, 1), I(Opcode.Addi, 20, 20, 1), I(Opcode.Jalr, 0, 5, 0));

    private static void Interrupt(int quickRuns, params uint[] code)
    {
        using var guest = new EngineGuest(quickRuns: quickRuns);
        guest.Write(Code, code);
        using Hart hart = guest.NewHart(Code);
        hart[5] = Code;
        HostThread? host = null;
        using var started = new ManualResetEventSlim();
        using var stopped = new SemaphoreSlim(0);
        using var goOn = new SemaphoreSlim(0);
        Exception? failure = null;
        const int Rounds = 200;
        var thread = new Thread(() =>
        {
            try
            {
                host = HostThread.Current;
                started.Set();
                for (int i = 0; i < Rounds; i++)
                {
                    ExecutionExit exit = guest.Engine.Run(hart);
                    Assert.Equal(ExitKind.Interrupted, exit.Kind);
                    // An instruction boundary: the two counters differ by at most the one that is still to come.
                    Assert.InRange(hart[10] - hart[20], 0UL, 1UL);
                    hart.State.ExitRequest = 0;
                    host.ClearKick();
                    stopped.Release();
                    Assert.True(goOn.Wait(30_000));
                }
            }
            catch (Exception e)
            {
                failure = e;
                stopped.Release();
            }
        }) { IsBackground = true };
        thread.Start();
        Assert.True(started.Wait(30_000));
        for (int i = 0; i < Rounds; i++)
        {
            // At any time: while the thread enters, runs, is on its way out, or translates.
            Thread.SpinWait(i * 37 % 3000);
            hart.RequestExit();
            host!.Kick();
            Assert.True(stopped.Wait(30_000), "the kick was lost");
            Assert.Null(failure);
            goOn.Release();
        }
        Assert.True(thread.Join(30_000), "the thread did not end after its last round");
    }
}
