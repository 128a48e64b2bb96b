using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;

namespace Vivarium.Cli.Tests;

/// <summary>Boots Debian's unmodified kernel. Files: <c>tests/acceptance/initramfs</c> makes them, <c>VIV_BOOT_KERNEL</c> and <c>VIV_BOOT_INITRAMFS</c> name them.</summary>
public sealed class DebianBootTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("viv-boot-").FullName;
    private readonly TcpListener _server = new(IPAddress.Loopback, 0);

    public void Dispose()
    {
        _server.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    /// <summary>Two harts, a disk, and the network: the kernel comes up, its drivers find the devices, data goes through all of them, and the
    /// machine switches itself off.</summary>
    [Fact]
    public void TheKernelBootsToAShellThatUsesItsDevices()
    {
        string? kernel = Environment.GetEnvironmentVariable("VIV_BOOT_KERNEL"), initramfs = Environment.GetEnvironmentVariable("VIV_BOOT_INITRAMFS");
        if (!File.Exists(kernel) || !File.Exists(initramfs))
        {
            Assert.True(Environment.GetEnvironmentVariable("VIV_CI") is null, "VIV_BOOT_KERNEL and VIV_BOOT_INITRAMFS are missing in CI");
            Console.WriteLine("SKIPPED TheKernelBootsToAShellThatUsesItsDevices: VIV_BOOT_KERNEL and VIV_BOOT_INITRAMFS name no files (tests/acceptance/initramfs makes them)");
            return;
        }

        byte[] payload = RandomNumberGenerator.GetBytes(200_000);
        string sum = Convert.ToHexStringLower(MD5.HashData(payload));
        _server.Start();
        int port = ((IPEndPoint)_server.LocalEndpoint).Port;
        new Thread(() => Serve(payload)) { IsBackground = true }.Start();
        string disk = Path.Combine(_directory, "disk.img");
        File.WriteAllBytes(disk, [.. "from the host"u8, .. new byte[(1 << 20) - 13]]);

        var result = Viv.RunProgram(Viv.Binary,
            ["boot", "--cpus", "2", "--memory", "512M", "--kernel", kernel, "--initrd", initramfs, "--disk", disk, "--net", "user", "--append", "console=ttyS0 viv.modules"],
            input: $"""
                echo harts: $(nproc)
                echo disk: $(head -c 13 /dev/vda)
                echo from the guest | dd of=/dev/vda bs=512 seek=1 conv=sync
                echo entropy: $(head -c 8 /dev/hwrng | wc -c)
                ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
                echo net: $(wget -q -O - http://10.0.2.2:{port}/ | md5sum)
                exit

                """, seconds: 400);
        foreach (string line in new[] { "harts: 2", "disk: from the host", "entropy: 8", $"net: {sum}", "reboot: Power down" })
            Assert.True(result.Output.Contains(line, StringComparison.Ordinal), $"'{line}' is not in:\n{result.Output}\n{result.Error}");
        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        Assert.Equal("from the guest", Encoding.ASCII.GetString(File.ReadAllBytes(disk), 512, 14));
    }

    private void Serve(byte[] payload)
    {
        try
        {
            using var client = _server.AcceptTcpClient();
            using var stream = client.GetStream();
            _ = stream.Read(new byte[4096]);
            stream.Write(Encoding.ASCII.GetBytes($"HTTP/1.0 200 OK\r\nContent-Length: {payload.Length}\r\n\r\n"));
            stream.Write(payload);
            client.Client.Shutdown(SocketShutdown.Send);
            _ = stream.Read(new byte[1]);
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // The test ended; its asserts say why.
        }
    }
}
