using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;
using Vivarium.Machine.Board;
using Vivarium.Machine.Boot;
using Vivarium.Machine.Devices;
using Vivarium.RiscV.Isa;
using static Vivarium.Testing.Encoder;

namespace Vivarium.Machine.Tests.Board;

/// <summary>Whole machines that are saved while they run and go on as other ones, and saved machines that were tampered with.</summary>
public sealed class SavedMachineTests : IDisposable
{
    private const int Sie = 0x104, Stimecmp = 0x14d, Time = 0xc01;

    private readonly string _directory = Directory.CreateTempSubdirectory("viv-saved").FullName;

    public void Dispose() => Directory.Delete(_directory, true);

    private sealed class Output : ISerialBackEnd
    {
        public readonly StringBuilder Text = new();

        public void Transmit(byte value)
        {
            lock (Text) Text.Append((char)value);
        }
    }

    /// <summary>Rounds of a pseudo-random sequence, each followed by a sleep until a timer is due and a letter of the sequence; then it switches off.</summary>
    private MachineConfiguration Configuration(int rounds)
    {
        const int s0 = 8, s1 = 9, t0 = 5, t1 = 6, t2 = 7, t3 = 28, t4 = 29, t5 = 30, t6 = 31;
        uint[] code =
        [
            Encode(Opcode.Addi, rd: s0, imm: 1),
            Encode(Opcode.Lui, rd: t0, imm: 0x1000_0000), // the serial port
            Encode(Opcode.Addi, rd: s1, imm: rounds),
            Encode(Opcode.Addi, rd: t1, imm: 32), Encode(Opcode.Csrrw, rs1: t1, imm: Sie), // STIE
            Encode(Opcode.Lui, rd: t2, imm: 0x8_0000),
            Encode(Opcode.Addi, rd: t3, rs1: t2), // 6: a round
            Encode(Opcode.Slli, rd: t4, rs1: s0, imm: 13), Encode(Opcode.Xor, rd: s0, rs1: s0, rs2: t4), // 7
            Encode(Opcode.Srli, rd: t4, rs1: s0, imm: 7), Encode(Opcode.Xor, rd: s0, rs1: s0, rs2: t4),
            Encode(Opcode.Slli, rd: t4, rs1: s0, imm: 17), Encode(Opcode.Xor, rd: s0, rs1: s0, rs2: t4),
            Encode(Opcode.Addi, rd: t3, rs1: t3, imm: -1), Encode(Opcode.Bne, rs1: t3, imm: (7 - 14) * 4), // 13, 14
            Encode(Opcode.Csrrs, rd: t5, imm: Time), Encode(Opcode.Lui, rd: t6, imm: 0x4000), Encode(Opcode.Add, rd: t5, rs1: t5, rs2: t6),
            Encode(Opcode.Csrrw, rs1: t5, imm: Stimecmp), Encode(Opcode.Wfi), // 18, 19
            Encode(Opcode.Addi, rd: t5, imm: -1), Encode(Opcode.Csrrw, rs1: t5, imm: Stimecmp),
            Encode(Opcode.Srli, rd: t4, rs1: s0, imm: 60), Encode(Opcode.Addi, rd: t4, rs1: t4, imm: 'A'), Encode(Opcode.Sb, rs1: t0, rs2: t4), // 22, 23, 24
            Encode(Opcode.Addi, rd: s1, rs1: s1, imm: -1), Encode(Opcode.Bne, rs1: s1, imm: (6 - 26) * 4), // 25, 26
            Encode(Opcode.Lui, rd: t0, imm: 0x10_0000), Encode(Opcode.Lui, rd: t1, imm: 0x5000), Encode(Opcode.Addi, rd: t1, rs1: t1, imm: 0x555),
            Encode(Opcode.Sw, rs1: t0, rs2: t1), Encode(Opcode.Jal),
        ];
        byte[] image = new byte[4096];
        BinaryPrimitives.WriteUInt32LittleEndian(image, 0x0400006f); // j +0x40
        BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(8), 0x20_0000);
        BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(16), (ulong)image.Length);
        "RSC\u0005"u8.CopyTo(image.AsSpan(0x38));
        MemoryMarshal.AsBytes<uint>(code).CopyTo(image.AsSpan(0x40));
        string kernel = Path.Combine(_directory, "kernel"), disk = Path.Combine(_directory, "disk");
        File.WriteAllBytes(kernel, image);
        File.WriteAllBytes(disk, new byte[1 << 20]);
        var configuration = new MachineConfiguration { Memory = 16 << 20, Harts = 2, Kernel = kernel, Network = true, VirtioConsole = true };
        configuration.Disks.Add(new DiskConfiguration(disk));
        return configuration;
    }

    /// <summary>A machine that runs on a thread of its own.</summary>
    private sealed class Running
    {
        private readonly Thread _thread;
        private Shutdown _end;

        public Running(VirtualMachine machine)
        {
            _thread = new Thread(() => _end = machine.Run());
            _thread.Start();
        }

        /// <summary>Whether it has ended by then.</summary>
        public bool Ends(int milliseconds) => _thread.Join(milliseconds);

        public Shutdown End()
        {
            Assert.True(Ends(60_000), "the machine did not end");
            return _end;
        }
    }

    [Theory]
    [InlineData(false), InlineData(true)]
    public void MachinesGoOnWhereTheyWereSaved(bool pci)
    {
        const int rounds = 250;
        var configuration = Configuration(rounds);
        configuration.Pci = pci;
        var expected = new Output();
        using (var machine = new VirtualMachine(configuration, expected))
            Assert.Equal(ShutdownKind.PowerOff, new Running(machine).End().Kind);
        Assert.Equal(rounds, expected.Text.Length);

        var actual = new Output();
        MemoryStream? saved = null;
        var random = new Random(1);
        var lives = 0;
        for (var kind = ShutdownKind.Quit; kind == ShutdownKind.Quit; lives++)
        {
            using var machine = new VirtualMachine(configuration, actual, saved);
            var run = new Running(machine);
            if (!run.Ends(random.Next(1, 60)))
            {
                machine.Quiesce();
                machine.Save(saved = new MemoryStream());
                saved.Position = 0;
                machine.End(new Shutdown(ShutdownKind.Quit));
            }
            kind = run.End().Kind;
        }
        Assert.Equal(expected.Text.ToString(), actual.Text.ToString());
        Assert.True(lives > 1, "the machine was not saved: it ended at once");
    }

    [Fact]
    public void AMachineThatWasSavedGoesOnToo()
    {
        var (first, second) = (new Output(), new Output());
        var saved = new MemoryStream();
        using (var machine = new VirtualMachine(Configuration(20), first))
        {
            var run = new Running(machine);
            machine.Save(saved);
            run.End();
        }
        saved.Position = 0;
        using (var machine = new VirtualMachine(Configuration(20), second, saved)) new Running(machine).End();
        Assert.Equal(20, first.Text.Length);
        Assert.EndsWith(second.Text.ToString(), first.Text.ToString());
    }

    [Fact]
    public void AMachineThatHasYetToStartIsSavedAsOne()
    {
        var configuration = Configuration(20);
        var saved = new MemoryStream();
        using (var machine = new VirtualMachine(configuration, new Output())) machine.Save(saved);
        saved.Position = 0;
        var output = new Output();
        using (var machine = new VirtualMachine(configuration, output, saved)) new Running(machine).End();
        Assert.Equal(20, output.Text.Length);
    }

    private byte[] Saved(MachineConfiguration configuration)
    {
        using var machine = new VirtualMachine(configuration, new Output());
        var run = new Running(machine);
        machine.Quiesce();
        var saved = new MemoryStream();
        machine.Save(saved);
        machine.End(new Shutdown(ShutdownKind.Quit));
        run.End();
        return saved.ToArray();
    }

    private static string Refusal(MachineConfiguration configuration, byte[] saved) =>
        Assert.Throws<BootException>(() => new VirtualMachine(configuration, new Output(), new MemoryStream(saved)).Dispose()).Message;

    [Fact]
    public void OtherMachinesRefuseIt()
    {
        var configuration = Configuration(5000);
        var saved = Saved(configuration);
        configuration.Memory = 32 << 20;
        Assert.Contains("16 MiB of memory, not 32", Refusal(configuration, saved));
        configuration.Memory = 16 << 20;
        configuration.Harts = 3;
        Assert.Contains("no 'hart2'", Refusal(configuration, saved));
        configuration.Harts = 1;
        Assert.Contains("a 'hart1' that this one lacks", Refusal(configuration, saved));
        configuration.Harts = 2;
        configuration.Pci = true;
        Assert.Contains("no 'pci'", Refusal(configuration, saved));
        configuration.Pci = false;
        Assert.Contains("cut off", Refusal(configuration, saved[..^1]));
        saved[^100] ^= 1;
        Assert.Contains("damaged", Refusal(configuration, saved));
    }

    /// <summary>Sections with valid checksums and anything in them: refused, or a machine that runs somehow. Nothing else happens.</summary>
    [Fact]
    public void NoSavedMachineHurtsTheHost()
    {
        var (plain, pci) = (Configuration(5000), Configuration(5000));
        pci.Pci = true;
        var saved = new[] { (plain, Split(Saved(plain))), (pci, Split(Saved(pci))) };
        int refused = 0, cases = 0;
        foreach (int seed in new Fuzz("saved machines").Seeds())
        {
            var random = new Random(seed);
            var (configuration, (sections, ram)) = saved[random.Next(2)];
            var changed = sections.Select(s => (s.Name, s.Version, Content: (byte[])s.Content.Clone())).ToArray();
            for (int n = random.Next(1, 4); n > 0; n--)
            {
                ref var section = ref changed[random.Next(changed.Length)];
                switch (random.Next(10))
                {
                    case 0: section.Content = section.Content[..random.Next(section.Content.Length + 1)]; break;
                    case 1: section.Version = random.Next(-1, 4); break;
                    default:
                        for (int bytes = random.Next(1, 9); bytes > 0 && section.Content.Length > 0; bytes--)
                            section.Content[random.Next(section.Content.Length)] = random.Next(4) switch { 0 => 0xff, 1 => 0, _ => (byte)random.Next(256) };
                        break;
                }
            }
            cases++;
            try
            {
                using var machine = new VirtualMachine(configuration, new Output(), new MemoryStream(Join(changed, ram)));
                Thread.Sleep(random.Next(2));
                machine.End(new Shutdown(ShutdownKind.Quit));
                new Running(machine).End();
            }
            catch (BootException)
            {
                refused++;
            }
        }
        Assert.InRange(refused, 1, cases - 1);
    }

    private static ((string Name, int Version, byte[] Content)[] Sections, byte[] Ram) Split(byte[] saved)
    {
        var reader = new BinaryReader(new MemoryStream(saved));
        reader.ReadBytes(12);
        var sections = new (string, int, byte[])[reader.ReadInt32()];
        foreach (ref var section in sections.AsSpan())
        {
            var name = Encoding.UTF8.GetString(reader.ReadBytes(reader.ReadInt32()));
            section = (name, reader.ReadInt32(), reader.ReadBytes(reader.ReadInt32()));
            reader.ReadInt32();
        }
        return (sections, reader.ReadBytes(saved.Length));
    }

    private static byte[] Join((string Name, int Version, byte[] Content)[] sections, byte[] ram)
    {
        var stream = new MemoryStream();
        var writer = new BinaryWriter(stream);
        writer.Write("VIVSTATE"u8);
        writer.Write(1);
        writer.Write(sections.Length);
        foreach (var (name, version, content) in sections)
        {
            var from = (int)stream.Position;
            writer.Write(name.Length);
            writer.Write(Encoding.ASCII.GetBytes(name));
            writer.Write(version);
            writer.Write(content.Length);
            writer.Write(content);
            uint crc = 0;
            foreach (byte value in stream.GetBuffer().AsSpan(from, (int)stream.Position - from)) crc = BitOperations.Crc32C(crc, value);
            writer.Write(crc);
        }
        writer.Write(ram);
        return stream.ToArray();
    }
}
