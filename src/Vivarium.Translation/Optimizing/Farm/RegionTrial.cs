using System.Globalization;
using Vivarium.Translation.Cache;

namespace Vivarium.Translation.Optimizing.Farm;

/// <summary>
/// Finds out whether a new region is faster than tier 1: for a while the two take turns, and the processor time that the samples find in the
/// region's guest code, by whomever it is executed, is held against how often control came to the region's head.
/// </summary>
/// <remarks>Only the sampler's thread uses it.</remarks>
internal sealed unsafe class RegionTrial(InstalledRegion region)
{
    private const int Turns = 6, MinSamples = 6, MaxSamples = 80, MinProgress = 12;
    private const long MinTime = 12_000_000; // ns of the guest's processor time in a turn

    // Coming and going alone costs some 15 to 20 ns, so what is left sooner than this cannot win by much, and mostly loses.
    private const int MinEntries = 1000, MinTimePerEntry = 80; // ns

    private readonly double[] _time = new double[2];
    private readonly long[] _progress = new long[2];
    private int _turn, _hits, _samples;
    private bool _isShort;
    private long _turnTime = -1, _turnProgress, _turnEntries;

    public InstalledRegion Region => region;

    /// <summary>Whether tier 1 runs the region's code now.</summary>
    public bool IsAside => (_turn & 1) != 0;

    /// <summary>Processor time per arrival at the head as a region over that in tier 1, once the trial has ended.</summary>
    public double Ratio => _time[0] / _progress[0] / (_time[1] / _progress[1]);

    /// <summary>What was found out, in words.</summary>
    public string Verdict => _isShort ? "left at once" : _turn == Turns ? string.Create(CultureInfo.InvariantCulture, $"{Ratio:F2} of tier 1's time") : "not compared";

    /// <summary>A sample of a thread: in the region's guest code or elsewhere.</summary>
    public void Sample(bool hit)
    {
        _samples++;
        if (hit) _hits++;
    }

    /// <summary>After the samples of a tick: goes on with the trial, and sends who comes to the region where it is to run next. Under the engine's lock.</summary>
    /// <param name="time">Processor time of the guest's threads so far, ns.</param>
    /// <param name="statistics">Gets what came out.</param>
    /// <param name="setAside">Those inside the region are to leave it now.</param>
    /// <returns>null while it goes on; whether the region shall stay.</returns>
    public bool? Advance(long time, FarmStatistics statistics, out bool setAside)
    {
        bool? stays = Step(time, out bool switched);
        setAside = stays == null && switched && IsAside;
        if (stays is { } keep)
        {
            Volatile.Write(ref Region.Header->Aside, 0);
            statistics.Compared++;
            if (!keep) statistics.Demoted++;
            statistics.Say?.Invoke($"region 0x{Region.Head:x}: {Verdict}: {(keep ? "stays" : "goes")}");
        }
        else if (switched) Volatile.Write(ref Region.Header->Aside, IsAside ? 1 : 0);
        return stays;
    }

    /// <summary>After the samples of a tick.</summary>
    /// <param name="time">Processor time of the guest's threads so far, ns.</param>
    /// <param name="switched">It is the other side's turn.</param>
    /// <returns>null while it goes on; whether the region shall stay.</returns>
    public bool? Step(long time, out bool switched)
    {
        switched = false;
        if (_turnTime < 0)
        {
            (_turnTime, _turnProgress, _turnEntries) = (time, region.Progress, region.Header->Entries);
            (_hits, _samples) = (0, 0);
            return null;
        }
        long progress = region.Progress - _turnProgress, spent = time - _turnTime, entries = IsAside ? 0 : region.Header->Entries - _turnEntries;
        // Seen within a millisecond or two, whatever share of the time it was.
        if (entries >= MinEntries && spent < entries * MinTimePerEntry) return !(_isShort = true);
        if (_samples < MinSamples || spent < MinTime) return null;
        if (progress < MinProgress && _samples < MaxSamples) return null;
        if (progress < MinProgress) return true; // too rarely entered to lose by it
        double inside = spent * Math.Max(_hits, 0.5) / _samples;
        if (entries >= MinEntries && inside < entries * (double)MinTimePerEntry) return !(_isShort = true);
        // A small share cannot be compared by samples.
        if (_hits * 20 < _samples || !region.IsComparable) return true;
        _time[_turn & 1] += spent * (double)_hits / _samples;
        _progress[_turn & 1] += progress;
        switched = true;
        _turnTime = -1; // the first tick of a turn belongs to nobody: threads change sides
        if (++_turn < Turns) return null;
        return Ratio < 0.98;
    }
}
