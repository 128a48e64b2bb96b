using System.Diagnostics;
using System.Globalization;

namespace Vivarium.Bench;

/// <summary>Memory of a process and its descendants while they wait: the sum of their proportional set sizes, so that shared pages count once.</summary>
internal static class MemoryOf
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private const int Looks = 90;

    /// <summary>Runs a command until it has said a line, measures when nothing changes any more, and kills it. The sample's "wall" is bytes / 1e9.</summary>
    public static Sample Run(IReadOnlyList<string> command, IReadOnlyDictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo(command[0]) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var a in command.Skip(1)) start.ArgumentList.Add(a);
        if (environment is not null) foreach (var (name, value) in environment) start.Environment[name] = value;
        using var process = Process.Start(start)!;
        if (process.StandardOutput.ReadLine() != "ready")
        {
            process.Kill(true);
            return new Sample(0, 0, 0, 1, "");
        }
        // The last processes may still be starting.
        long total = 0;
        for (int look = 0, alike = 0; look < Looks && alike < 3; look++)
        {
            long now = Descendants(process.Id).Sum(ProportionalSetSize);
            alike = Math.Abs(now - total) * 100 < total ? alike + 1 : 0;
            total = now;
            if (alike < 3) Thread.Sleep(Interval);
        }
        process.Kill(true);
        process.WaitForExit();
        return new Sample(total / 1e9, 0, total / 1024, 0, "");
    }

    private static List<int> Descendants(int root)
    {
        var parents = new List<(int Pid, int Parent)>();
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(directory), CultureInfo.InvariantCulture, out var pid)) continue;
            try
            {
                var stat = File.ReadAllText(directory + "/stat");
                parents.Add((pid, int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[1], CultureInfo.InvariantCulture)));
            }
            catch (IOException) { } // it ended meanwhile
        }
        var found = new List<int> { root };
        for (var i = 0; i < found.Count; i++) found.AddRange(parents.Where(p => p.Parent == found[i]).Select(p => p.Pid));
        return found;
    }

    private static long ProportionalSetSize(int pid)
    {
        try
        {
            var line = File.ReadLines($"/proc/{pid}/smaps_rollup").First(l => l.StartsWith("Pss:", StringComparison.Ordinal));
            return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
        }
        catch (IOException)
        {
            return 0;
        }
    }
}
