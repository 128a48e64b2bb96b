namespace Vivarium.Bench;

/// <summary>Something that runs riscv64 programs: a command prefix and how it takes a root file system.</summary>
/// <param name="Name">Column name, with the version.</param>
/// <param name="IsOurs">Whether this is viv.</param>
/// <param name="Wrap">Builds the command line from root (or null) and the guest's command.</param>
internal sealed record Runner(string Name, bool IsOurs, Func<string?, IReadOnlyList<string>, IReadOnlyList<string>> Wrap);

/// <summary>Finds viv and the QEMUs to compare with.</summary>
internal static class Peers
{
    public static List<Runner> Find(string viv, IReadOnlyList<string> vivOptions, string? newQemu, string scratch)
    {
        var runners = new List<Runner>
        {
            new("viv" + (vivOptions.Count > 0 ? " " + string.Join(' ', vivOptions) : ""), true,
                (root, guest) => [viv, "run", .. vivOptions, .. root is null ? (string[])[] : ["--root", root], .. guest]),
        };
        if (Which("qemu-riscv64-static") is { } old) Add(old);
        if (newQemu is not null)
        {
            Add(newQemu);
            Add(newQemu, "-cpu", "rv64");
        }
        return runners;

        void Add(string path, params string[] options)
        {
            var version = TimedProcess.Run([path, "--version"], null, scratch).Output.Split('\n')[0].Split(' ') is [_, _, var v, ..] ? v : "?";
            runners.Add(new Runner($"qemu {version}{(options.Length > 0 ? " " + string.Join(' ', options) : "")}", false,
                (root, guest) => [path, .. options, .. root is null ? (string[])[] : ["-L", root], .. Inside(root, guest)]));
        }
    }

    // qemu-user opens the program itself on the host's tree; -L serves the guest's own opens.
    private static IEnumerable<string> Inside(string? root, IReadOnlyList<string> guest) => root is null ? guest : [root + guest[0], .. guest.Skip(1)];

    public static string? Which(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(d => Path.Combine(d, name)).FirstOrDefault(File.Exists);
}
