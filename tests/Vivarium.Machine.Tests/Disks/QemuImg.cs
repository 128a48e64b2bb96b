using System.Diagnostics;

namespace Vivarium.Machine.Tests.Disks;

/// <summary>The other implementation of qcow2. Where it is missing, what needs it says so and does the rest.</summary>
internal static class QemuImg
{
    public static bool IsThere { get; } = Find();

    private static bool Find()
    {
        var there = Environment.GetEnvironmentVariable("PATH")!.Split(':').Any(directory => File.Exists(Path.Combine(directory, "qemu-img")));
        if (!there && Environment.GetEnvironmentVariable("VIV_CI") != null) throw new InvalidOperationException("qemu-img is missing; install qemu-utils");
        if (!there) Console.WriteLine("SKIPPED: qemu-img is missing (package qemu-utils): images are not compared with it");
        return there;
    }

    public static (int Status, string Output) Try(params string[] arguments)
    {
        var start = new ProcessStartInfo("qemu-img") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + error.Result);
    }

    public static void Run(params string[] arguments)
    {
        var (status, output) = Try(arguments);
        Assert.True(status == 0, $"qemu-img {string.Join(' ', arguments)}: {output}");
    }

    /// <summary>Consistent; clusters that are counted but not used are allowed after a crash.</summary>
    public static void Check(string path, bool afterCrash = false)
    {
        if (!IsThere) return;
        var (status, output) = Try("check", "-f", "qcow2", path);
        Assert.True(status == 0 || (afterCrash && status == 3), output);
    }
}
