using System.Diagnostics;

namespace Vivarium.Testing;

/// <summary>The QEMU user-mode emulators that this machine has, to compare with.</summary>
/// <param name="Path">The program.</param>
/// <param name="Version">As it says.</param>
/// <param name="Cpu">The model with the most extensions that it knows.</param>
public sealed record Qemu(string Path, string Version, string Cpu)
{
    /// <summary>Those in PATH, those named in VIV_QEMU (paths separated by colons), and the newer one that bench/run unpacks.</summary>
    public static IReadOnlyList<Qemu> Installed { get; } = Find();

    private static List<Qemu> Find()
    {
        var paths = new List<string>();
        paths.AddRange((Environment.GetEnvironmentVariable("VIV_QEMU") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries));
        foreach (var name in (string[])["qemu-riscv64-static", "qemu-riscv64"])
        {
            var found = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(d => System.IO.Path.Combine(d, name)).FirstOrDefault(File.Exists);
            if (found is null) continue;
            paths.Add(found);
            break;
        }
        for (var d = new DirectoryInfo(AppContext.BaseDirectory); d is not null; d = d.Parent)
        {
            var unpacked = System.IO.Path.Combine(d.FullName, "bench/out/qemu-new/path");
            if (File.Exists(unpacked)) paths.Add(File.ReadAllText(unpacked).Trim());
        }
        var all = new List<Qemu>();
        foreach (var path in paths.Where(File.Exists).Distinct())
        {
            var (status, output) = Run(path, TimeSpan.FromSeconds(20), "--version");
            if (status != 0) continue;
            var version = System.Text.Encoding.UTF8.GetString(output).Split('\n')[0].Split(' ').SkipWhile(w => w != "version").Skip(1).FirstOrDefault() ?? "?";
            var (_, cpus) = Run(path, TimeSpan.FromSeconds(20), "-cpu", "help");
            var max = System.Text.Encoding.UTF8.GetString(cpus).Split('\n').Any(l => l.Trim() == "max");
            all.Add(new(path, version, max ? "max" : "rv64"));
        }
        return all;
    }

    /// <summary>Runs a guest program; 128 + n when it died of signal n.</summary>
    public (int Status, byte[] Output) Run(string program, TimeSpan timeout) => Run(Path, timeout, "-cpu", Cpu, program);

    private static (int Status, byte[] Output) Run(string path, TimeSpan timeout, params string[] arguments)
    {
        // No core files of guests that die, which is one of the answers.
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])["-c", "ulimit -c 0; exec \"$0\" \"$@\"", path, .. arguments]) start.ArgumentList.Add(argument);
        using var process = Process.Start(start) ?? throw new InvalidOperationException("cannot start " + path);
        process.ErrorDataReceived += (_, _) => { };
        process.BeginErrorReadLine();
        using var output = new MemoryStream();
        using var killer = new Timer(_ => { try { process.Kill(); } catch (InvalidOperationException) { } }, null, timeout, Timeout.InfiniteTimeSpan);
        process.StandardOutput.BaseStream.CopyTo(output);
        process.WaitForExit();
        return (process.ExitCode, output.ToArray());
    }
}
