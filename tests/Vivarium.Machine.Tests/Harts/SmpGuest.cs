using System.Runtime.InteropServices;
using Vivarium.Machine.Buses;
using Vivarium.Machine.Harts;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation;
using Vivarium.Translation.Machine;
using static Vivarium.Testing.Encoder;

namespace Vivarium.Machine.Tests.Harts;

/// <summary>Several harts that run bare code in S-mode until each calls the SBI with a7 = 0. Another a7 is a remote fence.i of all harts.</summary>
internal sealed class SmpGuest : ISupervisorBinaryInterface, IDisposable
{
    public const ulong Ram = 0x8000_0000, RamSize = 16 << 20;
    private const ulong Barrier = Ram + 0x100;

    private readonly SemaphoreSlim _done = new(0);

    public SmpGuest(int harts, bool translated, ulong cacheSize = 64 << 20)
    {
        Memory = new PhysicalMemory(Ram, RamSize);
        Engine = translated ? new MachineEngine(Memory, new TranslationOptions { Validate = true, MachineCacheSize = cacheSize }) : null;
        Core = new MachineCore(Memory, harts, executor: Engine) { Sbi = this };
    }

    public PhysicalMemory Memory { get; }

    public MachineEngine? Engine { get; }

    public MachineCore Core { get; }

    public void Call(MachineHart hart)
    {
        if (hart.Cpu[17] != 0)
        {
            hart.Core.RemoteFence(ulong.MaxValue, FenceKind.Instructions);
            return;
        }
        hart.Stop();
        _done.Release();
    }

    public void Load(ulong address, params ReadOnlySpan<uint> code) => Assert.True(Memory.TryWriteBytes(address, MemoryMarshal.AsBytes(code)));

    public ulong Read(ulong address) => Memory.TryRead(address, 8, out var value) ? value : throw new InvalidOperationException();

    public void Write(ulong address, ulong value) => Assert.True(Memory.TryWrite(address, 8, value));

    /// <summary>Code that waits until all harts are there. Uses x5, x6 and x7.</summary>
    public uint[] Meet() =>
    [
        Encode(Opcode.Lui, rd: 5, imm: unchecked((int)0x8000_0000)), Encode(Opcode.Slli, rd: 5, rs1: 5, imm: 32), Encode(Opcode.Srli, rd: 5, rs1: 5, imm: 32),
        Encode(Opcode.Addi, rd: 5, rs1: 5, imm: 0x100), Encode(Opcode.Addi, rd: 6, imm: 1), Encode(Opcode.AmoaddD, rs1: 5, rs2: 6, aqrl: 3),
        Encode(Opcode.Addi, rd: 7, imm: Core.Harts.Count), Encode(Opcode.Ld, rd: 6, rs1: 5), Encode(Opcode.Blt, rs1: 6, rs2: 7, imm: -4),
    ];

    /// <summary>The call that ends a hart's part.</summary>
    public static uint[] Finish() => [Encode(Opcode.Addi, rd: 17), Encode(Opcode.Ecall), Encode(Opcode.Jal)];

    /// <summary>Runs every hart from its entry, with a number and a pointer in a0 and a1, until all have finished.</summary>
    public void Run(Func<int, (ulong Pc, ulong A1)> entry)
    {
        Write(Barrier, 0);
        foreach (var hart in Core.Harts)
        {
            Assert.True(SpinWait.SpinUntil(() => hart.Status == HartStatus.Stopped, 30_000), $"hart {hart.Id} does not stop");
            var (pc, a1) = entry(hart.Id);
            Assert.True(hart.Start(pc, PrivilegeMode.Supervisor, (ulong)hart.Id, a1));
        }
        foreach (var _ in Core.Harts) Assert.True(_done.Wait(120_000), "a hart did not finish: " + string.Join(", ", Core.Harts.Select(h => $"{h.Cpu.Pc:x}")));
    }

    public void Dispose()
    {
        Core.Dispose();
        Memory.Dispose();
    }
}
