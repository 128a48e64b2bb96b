using System.Reflection;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Farm;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>The compile farm's queue, with a clock of the test's own: no threads, no LLVM.</summary>
public sealed class HotQueueTests
{
    private const int Threshold = 10;

    private readonly Clock _clock = new();
    private readonly IRegionEngine _engine = NewEngine();
    private readonly FarmStatistics _statistics = new();
    private bool _mayCompile = true;

    [Fact]
    public void FifoTakesWhatBecameHotFirst()
    {
        HotQueue queue = Queue(JitPolicy.Fifo);
        Run(queue, 40, 1, 1, 2);
        Run(queue, 200, 3); // much hotter, but later
        _clock.Advance(10); // by now all of it is cold
        Assert.Equal([1UL, 2, 3], Drain(queue));
        Assert.Equal(0, _statistics.Reordered);
        Assert.Equal(0, _statistics.Dropped);
    }

    [Fact]
    public void HeatAtDispatchTakesWhatBecameHotFastest()
    {
        HotQueue queue = Queue(JitPolicy.HeatAtDispatch);
        Run(queue, 60, 1, 1, 1, 2); // 1 is hot after 13 ms, 2 after some 40
        Run(queue, 20, 3); // after 10 ms
        // What happens behind their backs while they wait changes nothing.
        Run(queue, 200, 2);
        Assert.Equal([3UL, 1, 2], Drain(queue));
        Assert.Equal(1, _statistics.Reordered);
    }

    [Fact]
    public void ContinuousTakesWhatIsHottestNow()
    {
        HotQueue queue = Queue(JitPolicy.Continuous);
        Run(queue, 100, 1, 1, 1, 2, 2, 3);
        Run(queue, 100, 3, 3, 3, 2); // the heat has moved since
        Assert.Equal([3UL, 2, 1], Drain(queue));
    }

    [Fact]
    public void ContinuousWeighsHeatAgainstWork()
    {
        HotQueue queue = Queue(JitPolicy.Continuous);
        Run(queue, 90, 1, 1, 2);
        Candidate large = Take(queue);
        Assert.Equal(1UL, large.Place.Pc);
        // Twice the heat, but many times the work: the other one goes first, and it waits again.
        Assert.False(queue.GoesFirst(large, 1000, static _ => false));
        Assert.True(large.IsQueued);
        Candidate other = Take(queue);
        Assert.Equal(2UL, other.Place.Pc);
        Assert.True(queue.GoesFirst(other, 30, static _ => false));
        queue.Done(other, true);
        Assert.True(Take(queue) == large && queue.GoesFirst(large, 1000, static _ => false));
        Assert.Equal(1, _statistics.PutBack);
    }

    [Fact]
    public void WhatElseARegionCoversAddsToItsWorth()
    {
        HotQueue queue = Queue(JitPolicy.Continuous);
        Run(queue, 90, 1, 1, 2, 3, 3);
        Candidate first = Take(queue);
        // Alone it would be put back, as above; with the other half of its loop it is worth its work.
        Assert.True(queue.GoesFirst(first, 100, c => c.Place.Pc is 1 or 3));
        queue.Done(first, true, c => c.Place.Pc is 1 or 3);
        Assert.Equal([2UL], Drain(queue));
        Assert.Equal(1, _statistics.Covered);
    }

    [Theory]
    [InlineData(JitPolicy.Fifo)]
    [InlineData(JitPolicy.HeatAtDispatch)]
    public void OtherPoliciesDoNotLookAtTheWork(JitPolicy policy)
    {
        HotQueue queue = Queue(policy);
        Run(queue, 90, 1, 1, 2);
        Assert.True(queue.GoesFirst(Take(queue), 100_000, static _ => false));
        Assert.Equal(0, _statistics.PutBack);
    }

    [Fact]
    public void ContinuousDropsWhatHasBecomeColdAndQueuesItAgainWhenItIsHot()
    {
        HotQueue queue = Queue(JitPolicy.Continuous);
        Run(queue, 20, 1);
        Run(queue, 400, 2);
        Assert.Equal([2UL], Drain(queue));
        Assert.Equal(1, _statistics.Dropped);
        Run(queue, 20, 1);
        Assert.Equal([1UL], Drain(queue));
        Assert.Equal(3, _statistics.Requests);
    }

    [Fact]
    public void ACompilationCoolsOnlyWithAllThatItsRegionCovers()
    {
        HotQueue queue = Queue(JitPolicy.Continuous);
        Run(queue, 40, 1);
        Candidate first = Take(queue);
        Assert.False(queue.HasCooled(first, static _ => false));
        Run(queue, 300, 2);
        Assert.False(queue.HasCooled(first, c => c.Place.Pc == 2));
        Assert.True(queue.HasCooled(first, static _ => false));
        queue.Cancel(first);
        Assert.Equal(1, _statistics.Cancelled);
        // It was no refusal: as soon as it is hot again it waits again.
        Run(queue, Threshold, 1);
        Assert.Equal([1UL, 2], Drain(queue).Order().ToArray());
        HotQueue other = Queue(JitPolicy.Fifo);
        Run(other, 40, 1);
        first = Take(other);
        Run(other, 300, 2);
        Assert.False(other.HasCooled(first, static _ => false));
    }

    [Theory]
    [InlineData(JitPolicy.Fifo)]
    [InlineData(JitPolicy.HeatAtDispatch)]
    [InlineData(JitPolicy.Continuous)]
    public void ARegionTakesWhatItCoversOutOfTheQueue(JitPolicy policy)
    {
        HotQueue queue = Queue(policy);
        Run(queue, 90, 1, 2, 3);
        Candidate first = Take(queue);
        ulong other = first.Place.Pc == 1 ? 2UL : 1;
        queue.Done(first, true, c => c.Place.Pc != other);
        Assert.Equal(1, _statistics.Covered);
        Assert.Equal([other], Drain(queue));
    }

    [Fact]
    public void ARequestThatCameToNothingIsMadeAgainWhenMuchHotter()
    {
        HotQueue queue = Queue(JitPolicy.Continuous);
        Run(queue, Threshold, 1);
        queue.Done(Take(queue), false);
        Run(queue, Threshold, 1);
        Assert.Empty(Drain(queue));
        Run(queue, Threshold + 2, 1);
        Assert.Equal([1UL], Drain(queue));
    }

    [Fact]
    public void NothingIsHandedOutBeyondTheBudgetAndWhatWaitsIsWeighedAgainLater()
    {
        HotQueue queue = Queue(JitPolicy.Continuous);
        Run(queue, 40, 1);
        _mayCompile = false;
        Assert.Null(queue.TryTake(out bool spent));
        Assert.True(spent);
        Run(queue, 400, 2);
        _mayCompile = true;
        Assert.Equal([2UL], Drain(queue));
    }

    [Fact]
    public void AnEngineThatEndsTakesItsRequestsAlong()
    {
        HotQueue queue = Queue(JitPolicy.Fifo);
        IRegionEngine other = NewEngine();
        Run(queue, 40, 1, 2);
        for (int i = 0; i < Threshold; i++) queue.Heat(other, new CodePlace(1, 0), 1, Threshold);
        queue.Remove(_engine);
        Assert.Equal(2, _statistics.Cancelled);
        Assert.Same(other, Take(queue).Engine);
        Assert.Null(queue.TryTake(out _));
    }

    [Fact]
    public void StatisticsCountLengthsAndTimes()
    {
        HotQueue queue = Queue(JitPolicy.Fifo);
        Run(queue, Threshold, 1);
        Run(queue, Threshold, 2);
        _clock.Advance(100);
        Candidate first = Take(queue);
        _clock.Advance(50);
        queue.Done(first, true);
        Dictionary<string, long> rows = _statistics.Rows().ToDictionary(r => r.Name, r => r.Value);
        Assert.Equal(2, rows["jit queue: longest"]);
        // From the 9th of ten milliseconds on, as nine tenths of the threshold suffice.
        Assert.InRange(rows["jit queue: mean wait microseconds"], 110_000, 111_500);
        Assert.Equal(rows["jit queue: longest wait microseconds"], rows["jit queue: mean wait microseconds"]);
        Assert.Equal(rows["jit queue: mean wait microseconds"] + 50_000, rows["jit queue: mean microseconds from hot to installed"]);
        Assert.InRange(rows["jit queue: mean length in thousandths"], 1850, 1950);
    }

    private HotQueue Queue(JitPolicy policy) => new(policy, _statistics, () => _mayCompile, _clock);

    /// <summary>Samples of so many milliseconds, in turn at these addresses.</summary>
    private void Run(HotQueue queue, int milliseconds, params ulong[] addresses)
    {
        for (int i = 0; i < milliseconds; i++)
        {
            _clock.Advance(1);
            queue.Heat(_engine, new CodePlace(addresses[i % addresses.Length], 0), 1, Threshold);
        }
    }

    private static Candidate Take(HotQueue queue)
    {
        Candidate? candidate = queue.TryTake(out _);
        Assert.NotNull(candidate);
        return candidate;
    }

    private static List<ulong> Drain(HotQueue queue)
    {
        var order = new List<ulong>();
        while (queue.TryTake(out _) is { } c)
        {
            order.Add(c.Place.Pc);
            queue.Done(c, true);
        }
        return order;
    }

    private sealed class Clock : TimeProvider
    {
        private long _ticks = 1;

        public override long GetTimestamp() => _ticks;
        public void Advance(int milliseconds) => _ticks += milliseconds * TimestampFrequency / 1000;
    }

    private static IRegionEngine NewEngine() => DispatchProxy.Create<IRegionEngine, Engine>();

    /// <summary>The queue only tells engines apart.</summary>
    public class Engine : DispatchProxy
    {
        protected override object? Invoke(MethodInfo? method, object?[]? arguments) => throw new NotSupportedException(method?.Name);
    }
}
