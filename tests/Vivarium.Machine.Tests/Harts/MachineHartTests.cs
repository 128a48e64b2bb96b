using System.Runtime.InteropServices;
using Vivarium.Machine.Buses;
using Vivarium.Machine.Harts;
using Vivarium.Machine.State;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation.Machine;
using static Vivarium.Testing.Encoder;

namespace Vivarium.Machine.Tests.Harts;

/// <summary>Harts as devices, firmware and other harts see them: start and stop, interrupts, timers, quiet, fences.</summary>
public sealed class MachineHartTests : IDisposable
{
    private const ulong Ram = 0x8000_0000, Counter = Ram + 0x8000, Handler = Ram + 0x1000;
    private const int Ssip = 1, Stimecmp = 0x14d, Sie = 0x104, Sip = 0x144, Sstatus = 0x100, Stvec = 0x105;

    private sealed class Calls : ISupervisorBinaryInterface
    {
        public readonly SemaphoreSlim Count = new(0);
        public int StopAfter = int.MaxValue;
        public void Call(MachineHart hart)
        {
            hart.Cpu[10] = 0;
            if (--StopAfter == 0) hart.Stop();
            Count.Release();
        }
    }

    private readonly PhysicalMemory _memory = new(Ram, 1 << 20);
    private readonly MachineCore _core;
    private readonly Calls _sbi = new();

    public MachineHartTests() => _core = new MachineCore(_memory, 2) { Sbi = _sbi };

    public void Dispose()
    {
        _core.Dispose();
        _memory.Dispose();
    }

    private void Load(ulong address, params uint[] code) => Assert.True(_memory.TryWriteBytes(address, MemoryMarshal.AsBytes<uint>(code)));

    private static readonly uint Ecall = Encode(Opcode.Ecall), Wfi = Encode(Opcode.Wfi);

    private void AwaitCalls(int count)
    {
        for (var i = 0; i < count; i++) Assert.True(_sbi.Count.Wait(10_000), "the guest did not call");
    }

    private ulong CounterValue => _memory.TryRead(Counter, 8, out var value) ? value : 0;

    /// <summary>A loop that counts at <see cref="Counter"/>, after an ecall.</summary>
    private void LoadCountingLoop() => Load(Ram, Ecall, Encode(Opcode.Lui, rd: 5, imm: unchecked((int)0x80008000)), Encode(Opcode.AddUw, rd: 5, rs1: 5),
        Encode(Opcode.Addi, rd: 6, rs1: 6, imm: 1), Encode(Opcode.Sd, rs1: 5, rs2: 6), Encode(Opcode.Jal, imm: -8));

    [Fact]
    public void StartPassesArgumentsAndEcallReachesTheSbi()
    {
        Load(Ram, Ecall, Encode(Opcode.Jal, imm: 0));
        Assert.True(_core.Harts[0].Start(Ram, PrivilegeMode.Supervisor, 7, 9));
        AwaitCalls(1);
        _core.Quiesce();
        Assert.Equal(9UL, _core.Harts[0].Cpu[11]);
        Assert.Equal(Ram + 4, _core.Harts[0].Cpu.Pc);
        Assert.Equal(PrivilegeMode.Supervisor, _core.Harts[0].Mode);
        _core.Resume();
        Assert.False(_core.Harts[0].Start(Ram, PrivilegeMode.Supervisor, 0, 0));
        Assert.Equal(HartStatus.Stopped, _core.Harts[1].Status);
    }

    [Fact]
    public void StoppedHartsStartAgain()
    {
        Load(Ram, Encode(Opcode.Jal, imm: 8), 0, Ecall, Ecall, Encode(Opcode.Jal, imm: 0));
        _core.Harts[1].Start(Ram + 8, PrivilegeMode.Supervisor, 0, 0);
        AwaitCalls(2);
        _core.Harts[1].Stop();
        SpinWait.SpinUntil(() => _core.Harts[1].Status == HartStatus.Stopped, 10_000);
        Assert.True(_core.Harts[1].Start(Ram + 8, PrivilegeMode.Supervisor, 0, 0));
        AwaitCalls(2);
    }

    [Fact]
    public void QuietMachinesStandStill()
    {
        LoadCountingLoop();
        _core.Harts[0].Start(Ram, PrivilegeMode.Supervisor, 0, 0);
        AwaitCalls(1);
        for (var i = 0; i < 20; i++)
        {
            SpinWait.SpinUntil(() => CounterValue > 1000 * (ulong)i, 10_000);
            _core.Quiesce();
            var before = CounterValue;
            Thread.Sleep(1);
            Assert.Equal(before, CounterValue);
            _core.Resume();
        }
        Assert.True(_core.Harts[0].CpuNanoseconds > 0);
    }

    private sealed class SuspendingCalls : ISupervisorBinaryInterface
    {
        public readonly SemaphoreSlim Count = new(0);

        /// <summary>The second call suspends: resumes at the handler's page.</summary>
        public void Call(MachineHart hart)
        {
            if (hart.Cpu[17] == 1) hart.SuspendAndResumeAt(Handler, 77);
            Count.Release();
        }
    }

    /// <summary>A suspended hart sleeps until an interrupt that sie enables, and begins elsewhere: S-mode, no translation, interrupts off.</summary>
    [Fact]
    public void SuspendedHartsBeginWhereTheySaid()
    {
        var sbi = new SuspendingCalls();
        _core.Sbi = sbi;
        Load(Ram, Encode(Opcode.Addi, rd: 6, imm: 0x202), Encode(Opcode.Csrrw, rs1: 6, imm: Sie), Encode(Opcode.Csrrsi, rs1: 2, imm: Sstatus),
            Encode(Opcode.Addi, rd: 17, imm: 1), Ecall, Encode(Opcode.Jal, imm: 0));
        Load(Handler, Encode(Opcode.Addi, rd: 17, imm: 2), Ecall, Encode(Opcode.Jal, imm: 0));
        var hart = _core.Harts[1];
        hart.Start(Ram, PrivilegeMode.Supervisor, 0, 0);
        Assert.True(sbi.Count.Wait(10_000));
        SpinWait.SpinUntil(() => hart.Status == HartStatus.Suspended, 10_000);
        hart.SetInterrupt(5, true); // not enabled: it sleeps on
        Assert.False(sbi.Count.Wait(50));
        Assert.Equal(HartStatus.Suspended, hart.Status);

        // Saved asleep, it is asleep afterwards.
        _core.Quiesce();
        var saved = new MemoryStream();
        StateArchive.Save(saved, [hart]);
        saved.Position = 0;
        StateArchive.Load(saved, [hart]);
        Assert.Equal(HartStatus.Suspended, hart.Status);
        _core.Resume();
        Assert.False(sbi.Count.Wait(50));

        hart.SetInterrupt(9, true);
        Assert.True(sbi.Count.Wait(10_000), "an interrupt did not wake the hart");
        _core.Quiesce();
        Assert.Equal((HartStatus.Started, PrivilegeMode.Supervisor, 1UL, 77UL), (hart.Status, hart.Mode, hart.Cpu[10], hart.Cpu[11]));
        Assert.Equal((0UL, 0UL), (hart.Unit.ReadCsr(0x180), hart.Unit.ReadCsr(Sstatus) & 2));
        Assert.Equal(0x202UL, hart.Unit.ReadCsr(Sie)); // CSRs are kept
        _core.Resume();
    }

    [Fact]
    public void InterruptsWakeWfiAndTimersFire()
    {
        // The handler clears SSIP, puts the timer off, and calls; the program sleeps for ever.
        Load(Ram, Encode(Opcode.Auipc, rd: 5, imm: 0x1000), Encode(Opcode.Csrrw, rs1: 5, imm: Stvec), Encode(Opcode.Addi, rd: 6, imm: 0x222),
            Encode(Opcode.Csrrw, rs1: 6, imm: Sie), Encode(Opcode.Csrrsi, rs1: 2, imm: Sstatus), Ecall, Wfi, Encode(Opcode.Jal, imm: -4));
        Load(Handler, Encode(Opcode.Csrrci, rs1: 2, imm: Sip), Encode(Opcode.Addi, rd: 7, imm: -1), Encode(Opcode.Csrrw, rs1: 7, imm: Stimecmp), Ecall,
            Encode(Opcode.Sret));
        var hart = _core.Harts[0];
        hart.Start(Ram, PrivilegeMode.Supervisor, 0, 0);
        AwaitCalls(1);
        for (var i = 0; i < 50; i++)
        {
            hart.SetInterrupt(Ssip, true);
            AwaitCalls(1);
            hart.SetTimer(_core.Clock.Ticks + (ulong)(i % 3) * 500);
            AwaitCalls(1);
        }
        Assert.Equal(0, _sbi.Count.CurrentCount);
        _core.Quiesce();
        Assert.Equal(0, hart.Naps); // who takes what woke it is not slowed
        Assert.Equal(0x8000_0000_0000_0005, hart.Unit.ReadCsr(0x142));
        _core.Resume();
    }

    /// <summary>A hart that polls memory around a wfi which a pending interrupt ends at once (OpenSBI waits so to be started) goes on, but naps.</summary>
    [Fact]
    public void HartsThatPollAroundWfiNapAndGoOn()
    {
        Load(Ram, Encode(Opcode.Addi, rd: 6, imm: 2), Encode(Opcode.Csrrw, rs1: 6, imm: Sie), Encode(Opcode.Lui, rd: 5, imm: unchecked((int)0x80008000)),
            Encode(Opcode.AddUw, rd: 5, rs1: 5), Ecall, Wfi, Encode(Opcode.Addi, rd: 7, rs1: 7, imm: 1), Encode(Opcode.Sd, rs1: 5, rs2: 7), Encode(Opcode.Jal, imm: -12));
        var hart = _core.Harts[0];
        hart.Start(Ram, PrivilegeMode.Supervisor, 0, 0);
        AwaitCalls(1);
        hart.SetInterrupt(Ssip, true); // pending and enabled in sie, but sstatus.SIE is off: never taken
        SpinWait.SpinUntil(() => CounterValue > 200, 10_000);
        _core.Quiesce();
        Assert.True(CounterValue > 200, "it stands still");
        Assert.InRange(hart.Naps, (long)CounterValue - 70, (long)CounterValue);
        _core.Resume();
    }

    /// <summary>A running program goes on in another machine where it stood, with all its CSRs.</summary>
    [Fact]
    public unsafe void SavedHartsGoOnInAnotherMachine()
    {
        LoadCountingLoop();
        var hart = _core.Harts[0];
        hart.Start(Ram, PrivilegeMode.Supervisor, 0, 0);
        AwaitCalls(1);
        SpinWait.SpinUntil(() => CounterValue > 1000, 10_000);
        _core.Quiesce();
        hart.Unit.WriteCsr(Stvec, 0x1235);
        hart.Unit.WriteCsr(Stimecmp, 1UL << 50);
        hart.Unit.WriteCsr(0x300, 1 << 13);
        hart.Unit.SetWire(Ssip, true);
        hart.Cpu.State.F[7] = 77;
        var writers = _core.Harts.Select(h => { var w = new StateWriter(); h.Save(w); return w; }).ToArray();
        var ram = new byte[1 << 20];
        Assert.True(_memory.TryReadBytes(Ram, ram));

        using var memory = new PhysicalMemory(Ram, 1 << 20);
        using var core = new MachineCore(memory, 2) { Sbi = _sbi };
        Assert.True(memory.TryWriteBytes(Ram, ram));
        core.Quiesce();
        for (var i = 0; i < 2; i++) core.Harts[i].Load(new StateReader($"hart{i}", 1, writers[i].Content.ToArray()));
        Assert.Equal(hart.Cpu.Pc, core.Harts[0].Cpu.Pc);
        Assert.Equal(77UL, core.Harts[0].Cpu.State.F[7]);
        Assert.Equal((hart.Mode, HartStatus.Started, HartStatus.Stopped), (core.Harts[0].Mode, core.Harts[0].Status, core.Harts[1].Status));
        foreach (var csr in PrivilegedUnit.StateCsrs)
        {
            if (csr < 0xb00) Assert.Equal(hart.Unit.ReadCsr(csr), core.Harts[0].Unit.ReadCsr(csr));
        }
        Assert.Equal(hart.Unit.ReadCsr(Sip), core.Harts[0].Unit.ReadCsr(Sip));
        var before = CounterValue;
        core.Resume();
        Assert.True(SpinWait.SpinUntil(() => memory.TryRead(Counter, 8, out var now) && now > before + 1000, 10_000));
        Assert.Throws<StateException>(() => core.Harts[1].Load(new StateReader("hart1", 1, writers[1].Content[..100].ToArray())));
        _core.Resume();
    }

    /// <summary>Translated code that another hart and the loader rewrite is what was written.</summary>
    [Fact]
    public void TranslatedCodeFollowsItsBytes()
    {
        using var memory = new PhysicalMemory(Ram, 1 << 20);
        using var core = new MachineCore(memory, 1, executor: new MachineEngine(memory)) { Sbi = _sbi };
        // s0 = s0 + imm, where the program itself counts imm up by a store to the instruction; ecall each round.
        uint[] code =
        [
            Encode(Opcode.Auipc, rd: 5, imm: 0), Encode(Opcode.Addi, rd: 8, rs1: 8, imm: 1), Encode(Opcode.Lw, rd: 6, rs1: 5, imm: 4),
            Encode(Opcode.Lui, rd: 7, imm: 0x10_0000), Encode(Opcode.Addw, rd: 6, rs1: 6, rs2: 7), Encode(Opcode.Sw, rs1: 5, rs2: 6, imm: 4),
            Encode(Opcode.FenceI), Ecall, Encode(Opcode.Jal, imm: -28),
        ];
        Assert.True(memory.TryWriteBytes(Ram, MemoryMarshal.AsBytes<uint>(code)));
        const ulong rounds = 100;
        _sbi.StopAfter = (int)rounds;
        core.Harts[0].Start(Ram, PrivilegeMode.Supervisor, 0, 0);
        AwaitCalls((int)rounds);
        Assert.True(SpinWait.SpinUntil(() => core.Harts[0].Status == HartStatus.Stopped, 10_000));
        Assert.True(memory.TryRead(Ram + 4, 4, out var last));
        ulong sum = 0;
        for (var i = 1UL; i <= rounds; i++) sum += (ulong)((long)(i << 52) >> 52); // 12 bits, signed
        Assert.Equal((uint)(1 + rounds) & 0xfff, (uint)last >> 20);
        Assert.Equal(sum, core.Harts[0].Cpu[8]);
    }

    [Fact]
    public void FencesCompleteWhateverTheHartDoes()
    {
        LoadCountingLoop();
        _core.Harts[1].RemoteFence(FenceKind.AddressSpaces); // not running
        _core.Harts[0].Start(Ram, PrivilegeMode.Supervisor, 0, 0);
        AwaitCalls(1);
        for (var i = 0; i < 1000; i++) _core.RemoteFence(3, (FenceKind)(i % 3), (ulong)i << 12, 0x3000);
        _core.Harts[0].Stop();
        SpinWait.SpinUntil(() => _core.Harts[0].Status == HartStatus.Stopped, 10_000);
        _core.RemoteFence(3, FenceKind.Instructions);
    }
}
