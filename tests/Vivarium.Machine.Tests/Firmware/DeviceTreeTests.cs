using System.Diagnostics;
using System.Text;
using Vivarium.Machine.Board;
using Vivarium.Machine.Firmware;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Tests.Firmware;

public class DeviceTreeTests
{
    private static DeviceTreeNode Board(bool minimal = false) => BoardDeviceTree.Create(new BoardDescription
    {
        HartCount = 4, MemorySize = 1 << 30, MachineMode = true, Pci = !minimal, Features = minimal ? HartFeatures.Minimal : HartFeatures.Full,
    });

    private static string Text(DeviceTreeNode node)
    {
        var text = new StringBuilder();
        Print(node);
        return text.ToString();

        void Print(DeviceTreeNode n)
        {
            text.Append(n.Name).Append('{');
            foreach (var (name, value) in n.Properties)
                text.Append(name).Append('=').Append(Convert.ToHexString(value)).Append(';');
            n.Children.ForEach(Print);
            text.Append('}');
        }
    }

    [Fact]
    public void ATreeComesBackFromItsBlob()
    {
        var tree = Board();
        BoardDeviceTree.SetChosen(tree, "console=ttyS0", (0x8800_0000, 0x8900_0000), [1, 2, 3]);
        Assert.Equal(Text(tree), Text(FlattenedDeviceTree.Read(FlattenedDeviceTree.Write(tree))));
    }

    [Fact]
    public void TheMinimalMachineSaysWhatItHas()
    {
        var cpu = Board(minimal: true).Find("cpus")!.Find("cpu@0")!;
        Assert.Equal("rv64imafdc_zicntr_zicsr_zifencei\0", Encoding.ASCII.GetString(cpu["riscv,isa"]!));
        Assert.Equal("riscv,sv39\0", Encoding.ASCII.GetString(cpu["mmu-type"]!));
    }

    /// <summary>The device tree compiler reads our blob without a complaint, and we read what it makes of it.</summary>
    [Fact]
    public void TheDeviceTreeCompilerAgrees()
    {
        if (!File.Exists("/usr/bin/dtc"))
        {
            Assert.True(Environment.GetEnvironmentVariable("VIV_CI") is null, "dtc is missing in CI");
            Console.WriteLine("SKIPPED TheDeviceTreeCompilerAgrees: dtc is missing (package device-tree-compiler)");
            return;
        }

        foreach (bool minimal in new[] { false, true })
        {
            var tree = Board(minimal);
            string directory = Directory.CreateTempSubdirectory("viv-dtb").FullName;
            File.WriteAllBytes($"{directory}/in.dtb", FlattenedDeviceTree.Write(tree));
            using var dtc = Process.Start(new ProcessStartInfo("/usr/bin/dtc", ["-I", "dtb", "-O", "dtb", "-o", $"{directory}/out.dtb", $"{directory}/in.dtb"]) { RedirectStandardError = true })!;
            string complaints = dtc.StandardError.ReadToEnd();
            dtc.WaitForExit();
            Assert.Equal("", complaints);
            Assert.Equal(Text(tree), Text(FlattenedDeviceTree.Read(File.ReadAllBytes($"{directory}/out.dtb"))));
            Directory.Delete(directory, true);
        }
    }

    /// <summary>Damaged blobs are refused or read, but nothing else happens.</summary>
    [Fact]
    public void NoBlobHurtsTheReader()
    {
        byte[] blob = FlattenedDeviceTree.Write(Board());
        int refused = 0, cases = 0;
        foreach (int seed in new Fuzz("device tree blobs").Seeds(atLeast: 20_000))
        {
            var random = new Random(seed);
            cases++;
            byte[] damaged = random.Next(8) == 0 ? blob[..random.Next(blob.Length)] : [.. blob];
            for (int n = random.Next(6); n >= 0 && damaged.Length > 0; n--)
            {
                int at = random.Next(3) == 0 ? random.Next(Math.Min(40, damaged.Length)) : random.Next(damaged.Length);
                damaged[at] = random.Next(3) switch { 0 => 0xff, 1 => 0, _ => (byte)random.Next(256) };
            }

            try
            {
                FlattenedDeviceTree.Read(damaged);
            }
            catch (DeviceTreeException)
            {
                refused++;
            }
        }

        Assert.InRange(refused, cases / 20, cases - 1);
    }
}
