using Vivarium.Machine.Buses;
using Vivarium.Machine.Devices;
using Vivarium.Machine.Firmware;
using Vivarium.Machine.Harts;

namespace Vivarium.Machine.Tests.Firmware;

public sealed class SupervisorCallsTests : IDisposable, ISbiConsole
{
    private const ulong Ram = 0x8000_0000;
    private readonly PhysicalMemory _memory = new(Ram, 2 << 20);
    private readonly MachineCore _core;
    private readonly SupervisorCalls _calls = new();
    private readonly FirmwareEvents _events = new(2);
    private readonly PerformanceMonitoringExtension _pmu;
    private readonly List<byte> _written = [];
    private readonly Queue<byte> _typed = new();
    private readonly List<Shutdown> _shutdowns = [];

    public SupervisorCallsTests()
    {
        _core = new MachineCore(_memory, 2);
        _pmu = new PerformanceMonitoringExtension(_core.Harts, _events);
        bool IsMemory(ulong address) => address - Ram < 2 << 20;
        foreach (ISbiExtension extension in (ReadOnlySpan<ISbiExtension>)
            [new TimeExtension(_events), new IpiExtension(_core.Harts, _events), new RemoteFenceExtension(_core.Harts, _events), new HartStateExtension(_core.Harts, IsMemory),
             new SystemResetExtension(_shutdowns.Add), new DebugConsoleExtension(this, _memory), new SystemSuspendExtension(_core.Harts, IsMemory), _pmu])
        {
            _calls.Add(extension);
        }

        for (uint id = 0; id <= LegacyExtension.Last; id++)
            _calls.Add(new LegacyExtension(id, _core.Harts, this, _shutdowns.Add));
    }

    public void Dispose()
    {
        _core.Dispose();
        _memory.Dispose();
    }

    void ISbiConsole.Write(ReadOnlySpan<byte> bytes) => _written.AddRange(bytes);

    int ISbiConsole.Read() => _typed.TryDequeue(out byte value) ? value : -1;

    private (SbiError Error, ulong Value) Call(ulong extension, ulong function, params ReadOnlySpan<ulong> arguments)
    {
        var cpu = _core.Harts[0].Cpu;
        (cpu[17], cpu[16], cpu[11]) = (extension, function, 0xdead);
        for (int i = 0; i < 6; i++)
            cpu[10 + i] = i < arguments.Length ? arguments[i] : 0;
        _calls.Call(_core.Harts[0]);
        return ((SbiError)cpu[10], cpu[11]);
    }

    [Fact]
    public void TheBaseExtensionKnowsWhatIsThere()
    {
        Assert.Equal((SbiError.Success, 2ul << 24), Call(0x10, 0));
        foreach (ulong id in new ulong[] { 0x10, 0x54494D45, 0x735049, 0x52464E43, 0x48534D, 0x53525354, 0x4442434E, 0x504D55, Susp, 0, 8 })
            Assert.Equal((SbiError.Success, 1ul), Call(0x10, 3, id));
        Assert.Equal((SbiError.Success, 0ul), Call(0x10, 3, 0x12345678));
        Assert.Equal((SbiError.Success, 0ul), Call(0x10, 3, ulong.MaxValue));
        Assert.Equal(SbiError.NotSupported, Call(0x10, 99).Error);
        Assert.Equal(SbiError.NotSupported, Call(0x9999, 0).Error);
        Assert.Equal(SbiError.NotSupported, Call(ulong.MaxValue, 0).Error);
    }

    [Fact]
    public void TheConsoleReadsAndWritesPhysicalMemory()
    {
        Assert.True(_memory.TryWriteBytes(Ram + 100, "hello"u8));
        Assert.Equal((SbiError.Success, 5ul), Call(0x4442434E, 0, 5, Ram + 100, 0));
        Assert.Equal("hello"u8.ToArray(), _written);
        Assert.Equal(SbiError.InvalidParameter, Call(0x4442434E, 0, 5, 0x1000, 0).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(0x4442434E, 0, 5, Ram, 1).Error);
        foreach (byte b in "xy"u8)
            _typed.Enqueue(b);
        Assert.Equal(SbiError.InvalidParameter, Call(0x4442434E, 1, 10, 0x1000, 0).Error);
        Assert.Equal((SbiError.Success, 2ul), Call(0x4442434E, 1, 10, Ram + 200, 0));
        Assert.True(_memory.TryRead(Ram + 200, 2, out ulong value));
        Assert.Equal(0x7978ul, value);
        Call(0x4442434E, 2, '!');
        Assert.Equal((byte)'!', _written[^1]);
    }

    [Fact]
    public void MasksNameHartsThatAreThere()
    {
        Assert.Equal(SbiError.Success, Call(0x735049, 0, 3, 0).Error);
        Assert.Equal(SbiError.Success, Call(0x735049, 0, 1, 1).Error);
        Assert.Equal(SbiError.Success, Call(0x735049, 0, 0, ulong.MaxValue).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(0x735049, 0, 4, 0).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(0x735049, 0, 2, 1).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(0x735049, 0, 1, 64).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(0x52464E43, 0, 1ul << 63, 63).Error);
        Assert.Equal(SbiError.Success, Call(0x52464E43, 1, 0, ulong.MaxValue, 0, 0).Error);
        Assert.Equal(SbiError.NotSupported, Call(0x52464E43, 3, 1, 0).Error);
    }

    [Fact]
    public void HartsSayTheirState()
    {
        Assert.Equal((SbiError.Success, 1ul), Call(0x48534D, 2, 1));
        Assert.Equal(SbiError.InvalidParameter, Call(0x48534D, 2, 2).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(0x48534D, 0, 9, Ram).Error);
        Assert.Equal(SbiError.InvalidAddress, Call(0x48534D, 0, 1, 0x1000).Error);
        Assert.Equal(SbiError.InvalidAddress, Call(0x48534D, 3, 0x8000_0000, 0x1000).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(0x48534D, 3, 0x8000_0001, Ram).Error);
        Assert.Equal(SbiError.NotSupported, Call(0x48534D, 3, 0x9000_0000, Ram).Error);
    }

    [Fact]
    public void TheMachineSleepsOnlyWhereItCanWake()
    {
        Assert.Equal(SbiError.NotSupported, Call(Susp, 1).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(Susp, 0, 1, Ram).Error);
        Assert.Equal(SbiError.NotSupported, Call(Susp, 0, 0x8000_0000, Ram).Error);
        Assert.Equal(SbiError.InvalidAddress, Call(Susp, 0, 0, 0x1000).Error);
        Assert.True(_memory.TryWrite(Ram, 4, 0x6f)); // j .
        Assert.True(_core.Harts[1].Start(Ram, Vivarium.RiscV.Privileged.PrivilegeMode.Supervisor, 0, 0));
        Assert.Equal(SbiError.Denied, Call(Susp, 0, 0, Ram).Error); // another hart runs
    }

    private const ulong Pmu = 0x504D55, Susp = 0x53555350, FirmwareType = 15 << 16;
    private const ulong Cycles = 1, Instructions = 2, ClearValue = 2, AutoStart = 4;

    [Fact]
    public void TheCountersAreCycleInstretAndFirmwares()
    {
        Assert.Equal((SbiError.Success, 19ul), Call(Pmu, 0));
        Assert.Equal((SbiError.Success, 63ul << 12 | 0xc00), Call(Pmu, 1, 0));
        Assert.Equal(SbiError.InvalidParameter, Call(Pmu, 1, 1).Error);
        Assert.Equal((SbiError.Success, 63ul << 12 | 0xc02), Call(Pmu, 1, 2));
        Assert.Equal((SbiError.Success, 1ul << 63), Call(Pmu, 1, 18));
        Assert.Equal(SbiError.InvalidParameter, Call(Pmu, 1, 19).Error);
        Assert.Equal(SbiError.NotSupported, Call(Pmu, 7, ulong.MaxValue, ulong.MaxValue).Error);
    }

    [Fact]
    public void CountersCountBetweenStartAndStop()
    {
        var unit = _core.Harts[0].Unit;
        Assert.Equal((SbiError.Success, 0ul), Call(Pmu, 2, 0, 0x7fffd, ClearValue | AutoStart, Cycles));
        ulong before = unit.ReadCsr(0xc00);
        Assert.InRange(before, 1ul, 60_000_000_000ul);
        Assert.Equal(SbiError.AlreadyStarted, Call(Pmu, 3, 0, 1, 0, 0).Error);
        Assert.Equal(SbiError.Success, Call(Pmu, 4, 0, 1, 0).Error);
        Assert.Equal(unit.ReadCsr(0xc00), unit.ReadCsr(0xc00)); // stands still
        Assert.Equal(SbiError.AlreadyStopped, Call(Pmu, 4, 0, 1, 0).Error);
        Assert.Equal(SbiError.Success, Call(Pmu, 3, 0, 1, 1, 1ul << 60).Error);
        Assert.InRange(unit.ReadCsr(0xc00), 1ul << 60, (1ul << 60) + 60_000_000_000);
        Assert.Equal(SbiError.NotSupported, Call(Pmu, 2, 0, 1, 0, Cycles).Error); // taken
        Assert.Equal(SbiError.Success, Call(Pmu, 4, 0, 1, 1).Error);
        Assert.Equal((SbiError.Success, 0ul), Call(Pmu, 2, 0, 1, 0, Cycles));
        // The interpreter counts instructions.
        Assert.Equal((SbiError.Success, 2ul), Call(Pmu, 2, 0, 0x7fffd, 0, Instructions));
        Assert.Equal(SbiError.NotSupported, Call(Pmu, 2, 0, 0x7fffd, 0, 3).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(Pmu, 2, 0, 2, 0, Cycles).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(Pmu, 2, 18, 3, 0, Cycles).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(Pmu, 3, 4, 1, 0, 0).Error); // nothing configured
    }

    [Fact]
    public void FirmwareCountersCountCalls()
    {
        Assert.Equal((SbiError.Success, 3ul), Call(Pmu, 2, 0, 0x7fffd, ClearValue | AutoStart, FirmwareType | (ulong)FirmwareEvent.IpiSent));
        Assert.Equal((SbiError.Success, 4ul), Call(Pmu, 2, 0, 0x7fffd, ClearValue, FirmwareType | (ulong)FirmwareEvent.IpiReceived));
        Assert.Equal((SbiError.Success, 5ul), Call(Pmu, 2, 0, 0x7fffd, AutoStart, FirmwareType | (ulong)FirmwareEvent.SetTimer));
        Assert.Equal(SbiError.NotSupported, Call(Pmu, 2, 0, 0x7fffd, 0, FirmwareType | 22).Error);
        Call(0x735049, 0, 3, 0);
        Assert.Equal(SbiError.Success, Call(Pmu, 3, 4, 1, 1, 100).Error);
        Call(0x735049, 0, 1, 0);
        Call(0x735049, 0, 2, 0);
        Call(0x54494D45, 0, ulong.MaxValue);
        Assert.Equal((SbiError.Success, 3ul), Call(Pmu, 5, 3));
        Assert.Equal((SbiError.Success, 101ul), Call(Pmu, 5, 4));
        Assert.Equal((SbiError.Success, 1ul), Call(Pmu, 5, 5));
        Assert.Equal((SbiError.Success, 0ul), Call(Pmu, 6, 4));
        Assert.Equal(SbiError.InvalidParameter, Call(Pmu, 5, 0).Error);

        // Saved, they go on with another machine's calls.
        var saved = new MemoryStream();
        Vivarium.Machine.State.StateArchive.Save(saved, [_pmu]);
        saved.Position = 0;
        var next = new PerformanceMonitoringExtension(_core.Harts, new FirmwareEvents(2));
        Vivarium.Machine.State.StateArchive.Load(saved, [next]);
        _calls.Add(next);
        Assert.Equal((SbiError.Success, 101ul), Call(Pmu, 5, 4));
        Call(Pmu, 4, 3, 7, 0);
        Call(0x735049, 0, 3, 0);
        Assert.Equal((SbiError.Success, 101ul), Call(Pmu, 5, 4));
    }

    [Fact]
    public void ResetsAreTold()
    {
        Call(0x53525354, 0, 0, 0);
        Call(0x53525354, 0, 0, 1);
        Call(0x53525354, 0, 1, 0);
        Assert.Equal(SbiError.InvalidParameter, Call(0x53525354, 0, 3, 0).Error);
        Assert.Equal(SbiError.InvalidParameter, Call(0x53525354, 0, 0, 2).Error);
        Call(8, 0);
        Assert.Equal([new(ShutdownKind.PowerOff), new(ShutdownKind.Failure, 1), new(ShutdownKind.Reboot), new(ShutdownKind.PowerOff)], _shutdowns);
    }

    [Fact]
    public void LegacyCallsReturnOneValueAndLeaveA1Alone()
    {
        _typed.Enqueue(65);
        Assert.Equal(((SbiError)65, 0xdeadul), (Call(2, 0, 0, 0xdead).Error, _core.Harts[0].Cpu[11]));
        Assert.Equal((SbiError)(-1), Call(2, 0).Error);
        Assert.Equal(SbiError.Success, Call(1, 0, 'z').Error);
        Assert.Equal((byte)'z', _written[^1]);
    }

    /// <summary>Later extensions plug in, and may replace what is there.</summary>
    [Fact]
    public void ExtensionsPlugIn()
    {
        _calls.Add(new Answer(0x08000000, 7));
        Assert.Equal((SbiError.Success, 7ul), Call(0x08000000, 0));
        _calls.Add(new Answer(0x08000000, 8));
        Assert.Equal((SbiError.Success, 8ul), Call(0x08000000, 0));
    }

    private sealed class Answer(uint id, ulong value) : ISbiExtension
    {
        public uint Id => id;

        public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments) => SbiResult.Ok(value);
    }
}
