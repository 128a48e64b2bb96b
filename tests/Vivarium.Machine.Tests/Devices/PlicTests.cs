using Vivarium.Machine.Devices;

namespace Vivarium.Machine.Tests.Devices;

public class PlicTests
{
    private const ulong Claim0 = 0x20_0004, Claim1 = 0x20_1004, Threshold1 = 0x20_1000;
    private readonly Wire _machine = new(), _supervisor = new();
    private readonly Plic _plic;

    public PlicTests() => _plic = Make(_machine, _supervisor);

    private static Plic Make(Wire machine, Wire supervisor) => new([machine, supervisor]);

    private void Enable(int context, int source, uint priority)
    {
        ulong word = 0x2000 + (ulong)context * 0x80 + (ulong)source / 32 * 4;
        _plic.Write(word, 4, _plic.Read(word, 4) | 1u << (source % 32));
        _plic.Write((ulong)source * 4, 4, priority);
    }

    [Fact]
    public void ASourceGoesToItsContextOnceAndAgainAfterCompletionWhileItIsHigh()
    {
        Enable(1, 10, 1);
        var line = _plic.Line(10);
        line.Set(true);
        Assert.True(_supervisor.Level);
        Assert.False(_machine.Level);
        Assert.Equal(1u << 10, (uint)_plic.Read(0x1000, 4));
        Assert.Equal(10ul, _plic.Read(Claim1, 4));
        Assert.False(_supervisor.Level);
        Assert.Equal(0ul, _plic.Read(Claim1, 4));
        _plic.Write(Claim1, 4, 10); // still high
        Assert.True(_supervisor.Level);
        Assert.Equal(10ul, _plic.Read(Claim1, 4));
        line.Set(false);
        _plic.Write(Claim1, 4, 10);
        Assert.False(_supervisor.Level);
        Assert.Equal(0ul, _plic.Read(0x1000, 4));
    }

    [Fact]
    public void ARequestStaysWhenItsWireFallsBeforeTheClaim()
    {
        Enable(1, 3, 1);
        _plic.Line(3).Set(true);
        _plic.Line(3).Set(false);
        Assert.Equal(3ul, _plic.Read(Claim1, 4));
        _plic.Write(Claim1, 4, 3);
        Assert.Equal(0ul, _plic.Read(Claim1, 4));
    }

    [Fact]
    public void EventsInterruptOnceEachAndAreRememberedWhileOneIsServed()
    {
        Enable(1, 10, 1);
        var events = _plic.Events(10);
        events.Raise();
        events.Raise();
        Assert.True(_supervisor.Level);
        Assert.Equal(10ul, _plic.Read(Claim1, 4));
        Assert.False(_supervisor.Level);
        _plic.Write(Claim1, 4, 10);
        Assert.False(_supervisor.Level);

        events.Raise();
        Assert.Equal(10ul, _plic.Read(Claim1, 4));
        events.Raise();
        Assert.False(_supervisor.Level);
        var (machine, supervisor) = (new Wire(), new Wire());
        var copy = Make(machine, supervisor);
        Saved.Copy(_plic, copy);
        copy.Write(Claim1, 4, 10);
        Assert.True(supervisor.Level);
        _plic.Write(Claim1, 4, 10);
        Assert.True(_supervisor.Level);
        Assert.Equal(10ul, _plic.Read(Claim1, 4));

        events.Raise();
        events.Withdraw();
        _plic.Write(Claim1, 4, 10);
        Assert.Equal(0ul, _plic.Read(Claim1, 4));
        _plic.Line(10).Set(true); // the wire is its own matter
        events.Withdraw();
        Assert.Equal(10ul, _plic.Read(Claim1, 4));
        _plic.Write(Claim1, 4, 10);
        Assert.Equal(10ul, _plic.Read(Claim1, 4));
    }

    [Fact]
    public void TheHighestPriorityComesFirstThenTheLowestNumber()
    {
        Enable(1, 5, 2);
        Enable(1, 40, 7);
        Enable(1, 4, 2);
        foreach (int source in new[] { 5, 40, 4 })
            _plic.Line(source).Set(true);
        Assert.Equal([40ul, 4, 5, 0], Enumerable.Range(0, 4).Select(_ => _plic.Read(Claim1, 4)));
    }

    [Fact]
    public void TheThresholdMasksTheNotificationButNotTheClaim()
    {
        Enable(1, 5, 2);
        _plic.Write(Threshold1, 4, 2);
        _plic.Line(5).Set(true);
        Assert.False(_supervisor.Level);
        _plic.Write(Threshold1, 4, 1);
        Assert.True(_supervisor.Level);
        _plic.Write(Threshold1, 4, 7);
        Assert.Equal(5ul, _plic.Read(Claim1, 4));
    }

    [Fact]
    public void PriorityZeroNeverInterrupts()
    {
        Enable(1, 5, 0);
        _plic.Line(5).Set(true);
        Assert.False(_supervisor.Level);
        Assert.Equal(0ul, _plic.Read(Claim1, 4));
    }

    [Fact]
    public void CompletingWhatIsNotEnabledIsIgnored()
    {
        Enable(1, 5, 1);
        _plic.Line(5).Set(true);
        Assert.Equal(5ul, _plic.Read(Claim1, 4));
        _plic.Write(Claim0, 4, 5); // the other context has not enabled it
        Assert.False(_supervisor.Level);
        _plic.Write(Claim1, 4, 5);
        Assert.True(_supervisor.Level);
    }

    [Fact]
    public void NoAccessOutsideOfTheRegistersHurts()
    {
        var random = new Random(1);
        for (int i = 0; i < 100_000; i++)
        {
            ulong offset = (ulong)random.NextInt64((long)Plic.Size) & ~(random.Next(4) == 0 ? 0ul : 3);
            int size = 1 << random.Next(4);
            _plic.Write(offset, size, (ulong)random.NextInt64());
            _plic.Read(offset, size);
        }

        foreach (ulong edge in new ulong[] { 0, 0xffc, 0x1000, 0x1ffc, 0x2000, 0x1f_fffc, 0x20_0000, Plic.Size - 4 })
            _plic.Write(edge, 4, uint.MaxValue);
    }

    [Fact]
    public void StateSurvives()
    {
        Enable(1, 5, 3);
        Enable(1, 6, 4);
        _plic.Line(5).Set(true);
        _plic.Line(6).Set(true);
        Assert.Equal(6ul, _plic.Read(Claim1, 4));
        Wire machine = new(), supervisor = new();
        var copy = Make(machine, supervisor);
        Saved.Copy(_plic, copy);
        Assert.True(supervisor.Level);
        Assert.Equal(5ul, copy.Read(Claim1, 4));
        Assert.Equal(0ul, copy.Read(Claim1, 4));
        copy.Write(Claim1, 4, 6); // in service when it was saved, and still high
        Assert.Equal(6ul, copy.Read(Claim1, 4));
    }
}
