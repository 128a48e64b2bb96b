namespace Vivarium.Cli.Tests;

/// <summary>Guest programs that tests run.</summary>
public static class Guests
{
    /// <summary>Every way to execute: what <c>--tier</c> takes.</summary>
    public static readonly string[] Tiers = ["interp", "1"];

    /// <summary>A Debian riscv64 tree: <c>$VIV_DEBIAN_TREE</c>, else the newest that <c>scripts/debian-tree</c> made; null where there is none.</summary>
    public static string? DebianTree { get; } = FindDebianTree();

    /// <summary>The host's <c>qemu-riscv64-static</c> to compare with; null where it is not installed.</summary>
    public static string? Qemu { get; } = File.Exists("/usr/bin/qemu-riscv64-static") ? "/usr/bin/qemu-riscv64-static" : null;

    /// <summary>One of our own samples.</summary>
    public static string Sample(string name) => Path.Combine(Viv.Repository, "samples/bin", name);

    /// <summary>In CI nothing may be left out: what is missing there is a failure.</summary>
    public static string? SkipUnless(bool there, string why) => there || Environment.GetEnvironmentVariable("VIV_CI") == "1" ? null : why;

    private static string? FindDebianTree()
    {
        if (Environment.GetEnvironmentVariable("VIV_DEBIAN_TREE") is { Length: > 0 } tree)
            return tree;
        string cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg ? xdg : Path.Combine(Environment.GetEnvironmentVariable("HOME") ?? "/", ".cache");
        string trees = Path.Combine(cache, "vivarium/debian/trees");
        return !Directory.Exists(trees) ? null : Directory.EnumerateFiles(trees, "*.complete").OrderByDescending(File.GetLastWriteTimeUtc)
            .Select(file => file[..^".complete".Length]).FirstOrDefault(t => Directory.Exists(Path.Combine(t, "usr/lib/python3.13/test")) && File.Exists(Path.Combine(t, "usr/bin/busybox")) && Directory.Exists(Path.Combine(t, "usr/lib/riscv64-linux-gnu")));
    }
}

/// <summary>Needs a Debian riscv64 tree.</summary>
public sealed class DebianFactAttribute : FactAttribute
{
    public DebianFactAttribute() => Skip = Guests.SkipUnless(Guests.DebianTree is not null, DebianTheoryAttribute.Why);
}

/// <summary>Needs a Debian riscv64 tree.</summary>
public sealed class DebianTheoryAttribute : TheoryAttribute
{
    public const string Why = "no Debian riscv64 tree: scripts/debian-tree --packages '... libpython3.13-testsuite' makes one";

    public DebianTheoryAttribute() => Skip = Guests.SkipUnless(Guests.DebianTree is not null, Why);
}

/// <summary>Needs a Debian riscv64 tree, and QEMU to compare with.</summary>
public sealed class QemuTheoryAttribute : TheoryAttribute
{
    public QemuTheoryAttribute() =>
        Skip = Guests.SkipUnless(Guests.Qemu is not null && Guests.DebianTree is not null, "no qemu-riscv64-static (package qemu-user-static) or no Debian riscv64 tree (scripts/debian-tree)");
}

/// <summary>A test that runs Debian's strace in a guest.</summary>
public sealed class StraceTheoryAttribute : TheoryAttribute
{
    public StraceTheoryAttribute() =>
        Skip = Guests.SkipUnless(Guests.DebianTree is { } tree && File.Exists(Path.Combine(tree, "usr/bin/strace")), "no Debian riscv64 tree with strace (scripts/debian-tree --packages '... strace')");
}
