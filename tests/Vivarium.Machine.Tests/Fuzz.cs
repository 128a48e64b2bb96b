namespace Vivarium.Machine.Tests;

/// <summary>How long fuzz tests run: 2 seconds each, or VIV_FUZZ_SECONDS, from VIV_FUZZ_SEED on. VIV_FUZZ_LOG names a file that gets a line with the number of
/// cases of each.</summary>
internal sealed class Fuzz(string name)
{
    private readonly DateTime _until = DateTime.UtcNow + TimeSpan.FromSeconds(double.TryParse(Environment.GetEnvironmentVariable("VIV_FUZZ_SECONDS"), out var seconds) ? seconds : 2);
    private readonly int _first = int.TryParse(Environment.GetEnvironmentVariable("VIV_FUZZ_SEED"), out var seed) ? seed : 0;

    /// <summary>The seeds of the cases, while there is time; at least <paramref name="atLeast"/>.</summary>
    public IEnumerable<int> Seeds(int atLeast = 1)
    {
        var cases = 0;
        for (; cases < atLeast || DateTime.UtcNow < _until; cases++) yield return _first + cases;
        if (Environment.GetEnvironmentVariable("VIV_FUZZ_LOG") is { Length: > 0 } log) File.AppendAllText(log, $"{name}: {cases} cases from seed {_first}\n");
    }
}
