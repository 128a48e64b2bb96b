using System.Globalization;
using Vivarium.Translation.Cache;

namespace Vivarium.Translation.Optimizing.Farm;

/// <summary>
/// Finds out whether a new region is faster than tier 1: for a while the two take turns, and the processor time that the samples find in the
/// region's guest code, by whomever it is executed, is held against how often control came to the region's head. Where that cannot be counted, or hardly happens,
/// it is held against the time that the samples find elsewhere: the ratio of the odds of the two sides is that of their times, as long as the rest of
/// the program goes on as before, for which the turns are short.
/// </summary>
/// <remarks>Only the sampler's thread uses it.</remarks>
internal sealed unsafe class RegionTrial(InstalledRegion region)
{
    private const int MinTurns = 8, MaxTurns = 32, MinHits = 6, ManySamples = 80, MaxSamples = 640, MinProgress = 12, MaxWait = 100;
    private const long MinTime = 12_000_000; // ns of the guest's processor time in a turn
    private const double Gain = 0.98;        // of tier 1's time, at most, for a region that shall stay
    // Standard deviations of the samples' noise. A region that goes does not come again, so that takes more; and a trial looks up to sixteen times.
    private const double Certainty = 1.5, CertaintyToGo = 2.5;

    // By odds: some of the time that tier 1's blocks take behind the region's exits counts as the region's while it is aside, and phases of the program are noise, too.
    private const double OddsGain = 0.96, OddsCertainty = 2, OddsCertaintyToGo = 2.5;
    private const int OddsTurns = 64, OddsWait = 16, MinOthers = 40;
    private const double Contradiction = 2; // of rounds and odds
    private const double Incredible = 4; // times as fast or slow, without looking at the odds, too

    // Coming and going alone costs some 4 ns, so what is left sooner than this cannot win by much, and mostly loses.
    private const int MinEntries = 1000, MinTimePerEntry = 10; // ns

    private readonly double[] _time = new double[2];
    private readonly long[] _progress = new long[2];
    private readonly long[] _allHits = new long[2];
    private readonly long[] _others = new long[2]; // samples elsewhere
    private readonly Scatter[] _scatterOfRounds = new Scatter[2], _scatterOfOdds = new Scatter[2];
    private int _turn, _hits, _inside, _samples, _waited, _enough;
    private bool _isShort, _isMissed, _isCompared, _looksAgain, _byOdds = !region.IsComparable;
    private string _reason = "not compared";
    private long _turnTime, _turnProgress, _turnEntries;
    private Phase _phase;

    /// <summary>What a turn is at. Rounds inside a region show when it is left: so it is, before the first and after the last tick of a turn.</summary>
    private enum Phase
    {
        Settling,
        Starting,
        Measuring,
        Closing,
    }

    public InstalledRegion Region => region;

    /// <summary>Whether tier 1 runs the region's code now.</summary>
    public bool IsAside => (_turn & 1) != 0;

    /// <summary>Processor time as a region over that in tier 1, for the same work, once the trial has ended.</summary>
    public double Ratio => _byOdds ? RatioByOdds : RatioByRounds;

    private double RatioByOdds => (double)_allHits[0] / _others[0] / ((double)_allHits[1] / _others[1]);
    private double RatioByRounds => _time[0] / _progress[0] / (_time[1] / _progress[1]);

    /// <summary>It was left soon after each entry.</summary>
    public bool WasLeft => _isShort;

    /// <summary>Something was found out: the region did not just stay for want of a comparison.</summary>
    public bool IsSettled => _isShort || _isMissed || _isCompared;

    /// <summary>What was found out, in words.</summary>
    public string Verdict => _isShort ? "left at once"
        : _isCompared ? string.Create(CultureInfo.InvariantCulture, $"{Ratio:F2} of tier 1's time ({_allHits[0]} and {_allHits[1]} samples{(_byOdds ? $", {_others[0]} and {_others[1]} elsewhere" : "")})")
        : _reason;

    /// <summary>A sample of a thread.</summary>
    /// <param name="hit">It was in the region's guest code, else elsewhere.</param>
    /// <param name="inside">The region itself executed that code.</param>
    public void Sample(bool hit, bool inside = false)
    {
        _samples++;
        if (hit) _hits++;
        if (inside) _inside++;
    }

    /// <summary>After the samples of a tick: goes on with the trial, and sends who comes to the region where it is to run next. Under the engine's lock.</summary>
    /// <param name="time">Processor time of the guest's threads so far, ns.</param>
    /// <param name="statistics">Gets what came out.</param>
    /// <param name="leave">Those inside the region are to leave it now: its rounds are added up at its exits.</param>
    /// <returns>null while it goes on; whether the region shall stay.</returns>
    public bool? Advance(long time, FarmStatistics statistics, out bool leave)
    {
        bool? stays = Step(time, out leave);
        Volatile.Write(ref Region.Header->Aside, stays == null && IsAside ? 1 : 0);
        if (stays is { } keep)
        {
            statistics.Compared++;
            if (!keep) statistics.Demoted++;
            statistics.Say?.Invoke($"region 0x{Region.Head:x}: {Verdict}: {(keep ? "stays" : "goes")}");
        }
        return stays;
    }

    /// <summary>After the samples of a tick.</summary>
    /// <param name="time">Processor time of the guest's threads so far, ns.</param>
    /// <param name="leave">Those inside the region are to leave it now.</param>
    /// <returns>null while it goes on; whether the region shall stay.</returns>
    public bool? Step(long time, out bool leave)
    {
        leave = false;
        switch (_phase)
        {
            case Phase.Settling: // threads change sides: this tick belongs to nobody
                leave = true;
                (_phase, _turnProgress, _waited, _enough, _looksAgain) = (Phase.Starting, region.Progress, 0, ManySamples, false);
                return null;
            case Phase.Starting:
                // A region that was left is entered again at its head, which may take some time: that is not its turn's.
                if (region.Progress == _turnProgress && ++_waited < (_byOdds ? OddsWait : MaxWait)) return null;
                (_turnTime, _turnProgress, _turnEntries) = (time, region.Progress, region.Entered);
                (_hits, _inside, _samples) = (0, 0, 0);
                _phase = Phase.Measuring;
                return null;
        }
        long spent = time - _turnTime, entries = IsAside ? 0 : region.Entered - _turnEntries;
        // Seen within a millisecond or two, whatever share of the time it was.
        if (entries >= MinEntries && spent < entries * MinTimePerEntry) return !(_isShort = true);
        // A region of which little is seen takes longer turns.
        if (spent < MinTime || (_samples < _enough && (_hits < MinHits || _looksAgain))) return null;
        if (_phase == Phase.Measuring)
        {
            leave = true;
            _phase = Phase.Closing;
            return null;
        }
        long progress = region.Progress - _turnProgress;
        if (progress < MinProgress && !_byOdds)
        {
            // Who runs this code goes round in tier 1, and does not come to the head.
            if (progress == 0 && !IsAside && _hits >= ManySamples && _inside == 0) return Missed();
            if (_samples < (progress == 0 ? MaxSamples / 2 : MaxSamples))
            {
                // Not every tick: each look has the region left.
                _enough = Math.Max(ManySamples, 2 * _samples);
                _looksAgain = true;
                _phase = Phase.Measuring;
                return null;
            }
            _byOdds = true;
        }
        double inside = spent * Math.Max(_hits, 0.5) / _samples;
        if (entries >= MinEntries && inside < entries * (double)MinTimePerEntry) return !(_isShort = true);
        int side = _turn & 1;
        double here = spent * (double)_hits / _samples;
        _scatterOfRounds[side].Add(here, progress);
        _scatterOfOdds[side].Add(_hits, _samples - _hits);
        _time[side] += here;
        _progress[side] += progress;
        _allHits[side] += _hits;
        _others[side] += _samples - _hits;
        leave = true;
        _phase = Phase.Settling;
        if (++_turn < MinTurns || (_turn & 1) != 0) return null;
        return Decide();
    }

    /// <summary>Of the logarithm of the ratio of two counts.</summary>
    private static double Variance(long[] counts) => 1.0 / counts[0] + 1.0 / counts[1];

    /// <summary>Of the logarithm of the ratio of the shares of samples, and of rounds of which a part lies outside of the turns.</summary>
    private double VarianceByRounds
    {
        get
        {
            double sum = 0;
            for (int side = 0; side < 2; side++)
                sum += 1.0 / _allHits[side] - 1.0 / (_allHits[side] + _others[side]) + _turn / 12.0 / ((double)_progress[side] * _progress[side]);
            return sum;
        }
    }

    /// <summary>Of the logarithm of a ratio of sums over turns, by how much the turns differ: rounds are not alike, and programs have phases.</summary>
    private struct Scatter
    {
        private double _a, _b, _aa, _ab, _bb;
        private int _turns;

        public void Add(double a, double b)
        {
            _turns++;
            (_a, _b, _aa, _ab, _bb) = (_a + a, _b + b, _aa + a * a, _ab + a * b, _bb + b * b);
        }

        public readonly double Variance
        {
            get
            {
                if (_turns < 2 || _a <= 0 || _b <= 0) return 1;
                double ratio = _a / _b;
                return Math.Max(0, _aa - 2 * ratio * _ab + ratio * ratio * _bb) / (_a * _a) * _turns / (_turns - 1);
            }
        }
    }

    private bool Missed()
    {
        _isMissed = true;
        _reason = "control does not come to its head";
        return false;
    }

    private bool Unsettled(string reason)
    {
        _reason = reason;
        return true;
    }

    /// <summary>As soon as the samples are enough to tell; null while they are not.</summary>
    private bool? Decide()
    {
        long least = Math.Min(_allHits[0], _allHits[1]), leastOthers = Math.Min(_others[0], _others[1]);
        int turns = _byOdds ? OddsTurns : MaxTurns;
        if (_allHits[0] + _allHits[1] < MinTurns) return Unsettled("not compared: it is hardly seen");
        if (least == 0) return _turn < turns ? null : Unsettled("not compared: seen on one side only");
        if (!_byOdds && leastOthers < MinOthers && _turn < turns && Math.Abs(Math.Log(RatioByRounds)) > Math.Log(Incredible)) return null;
        if (!_byOdds && leastOthers >= MinOthers && Math.Abs(Math.Log(RatioByRounds / RatioByOdds)) > Math.Log(Contradiction) + OddsCertainty * Math.Sqrt(Variance(_allHits) + Variance(_others)))
        {
            // The same work makes more rounds on one side than on the other, whatever the builder thought of them.
            _byOdds = true;
        }
        double gain = _byOdds ? OddsGain : Gain, variance = _byOdds ? Variance(_allHits) : VarianceByRounds;
        if (_byOdds)
        {
            if (leastOthers < MinOthers) return _turn < turns ? null : Unsettled("not compared: hardly anything else runs");
            variance += Variance(_others);
        }
        Scatter[] scatter = _byOdds ? _scatterOfOdds : _scatterOfRounds;
        double deviation = Math.Sqrt(Math.Max(variance, scatter[0].Variance + scatter[1].Variance)), over = Math.Log(Ratio / gain);
        bool isClear = over < -deviation * (_byOdds ? OddsCertainty : Certainty) || over > deviation * (_byOdds ? OddsCertaintyToGo : CertaintyToGo);
        if (!isClear && _turn < turns) return null;
        _isCompared = true;
        return over < 0;
    }
}
