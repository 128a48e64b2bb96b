using System.Globalization;

namespace Vivarium.Translation.Profiling;

/// <summary>/tmp/perf-PID.map: names of emitted code for Linux perf.</summary>
internal sealed class PerfMap : IDisposable
{
    private readonly StreamWriter _file;

    public PerfMap() => _file = new StreamWriter($"/tmp/perf-{Environment.ProcessId}.map", append: true) { AutoFlush = true };

    public void Add(ulong start, ulong end, string name)
    {
        lock (_file) _file.Write(string.Create(CultureInfo.InvariantCulture, $"{start:x} {end - start:x} {name}\n"));
    }

    public void Dispose() => _file.Dispose();
}
