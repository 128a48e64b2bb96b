namespace Vivarium.Bench;

/// <summary>Something that runs riscv64 programs: a command prefix and how it takes a root file system.</summary>
/// <param name="Name">Column name, with the version.</param>
/// <param name="IsOurs">Whether this is viv, so no peer; the first such column is what the ratios speak of.</param>
/// <param name="Wrap">Builds the command line from root (or null) and the guest's command.</param>
internal sealed record Runner(string Name, bool IsOurs, Func<string?, IReadOnlyList<string>, IReadOnlyList<string>> Wrap)
{
    /// <summary>What the guest must put before a riscv64 program to execute it; empty for none.</summary>
    public string ExecPrefix { get; init; } = "";
}

/// <summary>Finds viv and the QEMUs to compare with.</summary>
internal static class Peers
{
    public static List<Runner> Find(Options options, string scratch)
    {
        List<Runner> runners = [Viv(options.VivOptions), .. options.Variants.Select(v => Viv([.. options.VivOptions, .. v.Split(' ', StringSplitOptions.RemoveEmptyEntries)]))];
        if (!options.HasQemu) return runners;
        if (Which("qemu-riscv64-static") is { } old) Add(old);
        if (options.Qemu is { } newQemu)
        {
            Add(newQemu);
            Add(newQemu, "-cpu", "rv64");
        }
        return runners;

        Runner Viv(IReadOnlyList<string> with) => new(string.Join(' ', ["viv", .. with]), true,
            (root, guest) => [options.Viv, "run", .. with, .. root is null ? (string[])[] : ["--root", root], .. guest]);

        void Add(string path, params string[] with)
        {
            var version = TimedProcess.Run([path, "--version"], null, scratch).Output.Split('\n')[0].Split(' ') is [_, _, var v, ..] ? v : "?";
            runners.Add(new Runner($"qemu {version}{(with.Length > 0 ? " " + string.Join(' ', with) : "")}", false,
                (root, guest) => [path, .. with, .. root is null ? (string[])[] : ["-L", root], .. Inside(root, guest)]) { ExecPrefix = path });
        }
    }

    // qemu-user opens the program itself on the host's tree; -L serves the guest's own opens.
    private static IEnumerable<string> Inside(string? root, IReadOnlyList<string> guest) => root is null ? guest
        : [root + guest[0], .. guest.Skip(1).Select(a => a.StartsWith("/bench-jobs", StringComparison.Ordinal) ? root + a : a.Replace("/bench-compute/", root + "/bench-compute/", StringComparison.Ordinal))];

    public static string? Which(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(d => Path.Combine(d, name)).FirstOrDefault(File.Exists);
}
