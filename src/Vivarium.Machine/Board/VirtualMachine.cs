using System.Security.Cryptography;
using Vivarium.Machine.Boot;
using Vivarium.Machine.Buses;
using Vivarium.Machine.Devices;
using Vivarium.Machine.Firmware;
using Vivarium.Machine.Harts;
using Vivarium.Machine.State;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation;
using Vivarium.Translation.Machine;
using Vivarium.Translation.Optimizing;

namespace Vivarium.Machine.Board;

/// <summary>A whole machine: harts, memory, devices, and what it boots. One run of it; a reboot makes a new one.</summary>
public sealed class VirtualMachine : IDisposable, ISbiConsole
{
    private const string SerialArguments = "console=ttyS0", VirtioArguments = "console=hvc0";

    private readonly MachineConfiguration _configuration;
    private readonly ISerialBackEnd _serial;
    private readonly ManualResetEventSlim _ended = new();
    private readonly Lock _endLock = new(), _quietLock = new();
    private int _quiets;
    private readonly GoldfishRtc? _rtc;
    private readonly VirtioDevices _virtio;
    private readonly Plic _plic;
    private readonly Aclint _aclint;
    private PerformanceMonitoringExtension? _pmu;
    private Shutdown? _shutdown;

    /// <summary>Puts a machine together and loads what it boots.</summary>
    /// <param name="configuration">What it is made of.</param>
    /// <param name="serial">Where the serial port's output goes.</param>
    /// <param name="saved">A machine of the same configuration that <see cref="Save"/> wrote, which this one goes on as; null boots.</param>
    /// <exception cref="BootException">It cannot be made; the message says why.</exception>
    public VirtualMachine(MachineConfiguration configuration, ISerialBackEnd serial, Stream? saved = null)
    {
        Check(configuration, boots: saved is null);
        (_configuration, _serial) = (configuration, serial);
        var features = configuration.Minimal ? HartFeatures.Minimal : HartFeatures.Full;
        try
        {
            Memory = new PhysicalMemory(MemoryMap.Ram, configuration.Memory);
        }
        catch (OutOfMemoryException e)
        {
            throw new BootException(e.Message);
        }

        try
        {
            if (configuration.Execution == HartExecution.Optimizer)
            {
                Farm = CompileFarm.TryCreate(configuration.Optimizer, out string problem);
                WhyNoFarm = problem;
            }

            Core = new MachineCore(Memory, configuration.Harts, features,
                configuration.Execution == HartExecution.Interpreter ? null : new MachineEngine(Memory, new TranslationOptions { InterpretFirst = true, Farm = Farm }));
            var harts = Core.Harts;
            _plic = new Plic([.. harts.SelectMany(h => new IInterruptLine[] { new HartWire(h, HartWire.MachineExternal), new HartWire(h, HartWire.SupervisorExternal) })]);
            _aclint = new Aclint(() => Core.Clock.Ticks, [.. harts.Select(h => new HartWire(h, HartWire.MachineSoftware))], [.. harts.Select(h => (Action<ulong>)h.SetMachineTimer)]);
            Uart = new Uart16550(serial, _plic.Line(MemoryMap.UartInterrupt), _plic.Events(MemoryMap.UartInterrupt));
            Memory.Map(MemoryMap.Plic, Plic.Size, _plic);
            Memory.Map(MemoryMap.Aclint, Aclint.Size, _aclint);
            Memory.Map(MemoryMap.Uart, Uart16550.Size, Uart);
            Memory.Map(MemoryMap.Syscon, Syscon.Size, new Syscon(End));
            if (!configuration.Minimal)
            {
                _rtc = new GoldfishRtc(_plic.Line(MemoryMap.RtcInterrupt));
                Memory.Map(MemoryMap.Rtc, GoldfishRtc.Size, _rtc);
            }

            _virtio = new VirtioDevices(configuration, Memory, _plic, ((ISbiConsole)this).Write);
            if (configuration.Firmware is null)
                Core.Sbi = BuiltInFirmware();
            if (saved is null)
                Prepare(Load());
            else
                Restore(saved);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public PhysicalMemory Memory { get; }

    public MachineCore Core { get; }

    /// <summary>The optimising tier's compilers; null without that tier, and where <see cref="WhyNoFarm"/> says why.</summary>
    public CompileFarm? Farm { get; }

    /// <summary>What is in the way of the optimising tier that was asked for.</summary>
    public string? WhyNoFarm { get; }

    /// <summary>The serial port: input for the guest goes to its <see cref="Uart16550.Receive"/>.</summary>
    public Uart16550 Uart { get; }

    /// <summary>Where input goes: the serial port or the virtio console.</summary>
    public IConsolePort Console => _virtio.Console is { } console ? console : Uart;

    /// <summary>Tells the guest the size of the terminal, where its console takes one.</summary>
    public void ResizeConsole(int columns, int rows) => _virtio.Console?.Resize(columns, rows);

    /// <summary>The built-in SBI, where no firmware is given; later extensions plug in before <see cref="Run"/>.</summary>
    public SupervisorCalls? Sbi { get; private set; }

    /// <summary>CPU time of each hart, and of the timers, after <see cref="Run"/>.</summary>
    public IReadOnlyList<TimeSpan> HartCpuTimes { get; private set; } = [];

    public TimeSpan TimerCpuTime { get; private set; }

    /// <summary>CPU time of the host thread of each device, by the device's name.</summary>
    public IEnumerable<(string Name, TimeSpan Time)> DeviceCpuTimes => _virtio.Devices.Select(device => (device.SectionName, device.CpuTime));

    /// <summary>What is saved, in the order of saving and loading; the board's clock comes first.</summary>
    public IReadOnlyList<IStateful> Parts
    {
        get
        {
            var parts = new List<IStateful> { new MachineSection(_configuration, Core.Clock) };
            parts.AddRange(Core.Harts);
            parts.AddRange([_plic, _aclint, Uart]);
            foreach (var part in (ReadOnlySpan<IStateful?>)[_rtc, _pmu, _virtio.Pci])
            {
                if (part is not null)
                    parts.Add(part);
            }

            parts.AddRange(_virtio.Devices);
            return parts;
        }
    }

    /// <summary>Brings harts and devices to rest, and returns when all are; nests. Not from a thread of the machine.</summary>
    public void Quiesce()
    {
        lock (_quietLock)
        {
            if (_quiets++ > 0)
                return;
            Core.Quiesce();
            foreach (var device in _virtio.Devices)
                device.Quiesce();
        }
    }

    /// <summary>Ends one <see cref="Quiesce"/>.</summary>
    public void Resume()
    {
        lock (_quietLock)
        {
            if (--_quiets > 0)
                return;
            foreach (var device in _virtio.Devices)
                device.Resume();
            Core.Resume();
        }
    }

    /// <summary>Writes the whole machine: every part's section, and RAM. What is on disks is the disks'; connections of the network end. Not from
    /// a thread of the machine.</summary>
    /// <exception cref="IOException">The stream cannot be written.</exception>
    public void Save(Stream output)
    {
        Quiesce();
        try
        {
            StateArchive.Save(output, Parts);
            MemoryImage.Save(output, Memory);
        }
        finally
        {
            Resume();
        }
    }

    private void Restore(Stream saved)
    {
        Quiesce(); // harts that run again wait for the last part
        try
        {
            StateArchive.Load(saved, Parts, () => MemoryImage.Load(saved, Memory));
        }
        catch (StateException e)
        {
            throw new BootException(e.Message);
        }

        Resume();
    }

    private void Prepare(BootPlan boot)
    {
        foreach (var hart in Core.Harts)
        {
            if (boot.MachineMode)
                hart.Prepare(boot.Entry, PrivilegeMode.Machine, (ulong)hart.Id, boot.DeviceTree);
            else if (hart.Id == 0)
                hart.Prepare(boot.Entry, PrivilegeMode.Supervisor, 0, boot.DeviceTree);
        }
    }

    /// <summary>Reads every file that the machine would, and puts it together, without running it.</summary>
    /// <exception cref="BootException">Something is wrong with it.</exception>
    public static void TryOut(MachineConfiguration configuration)
    {
        using var machine = new VirtualMachine(configuration, new NoSerial());
    }

    /// <summary>Runs the machine until its guest, or <see cref="End"/>, ends it.</summary>
    public Shutdown Run()
    {
        foreach (var hart in Core.Harts)
        {
            if (hart.Status != HartStatus.Stopped)
                hart.Launch();
        }

        _ended.Wait();
        HartCpuTimes = [.. Core.Harts.Select(h => TimeSpan.FromTicks(h.CpuNanoseconds / 100))]; // while their threads are there
        TimerCpuTime = TimeSpan.FromTicks(Core.TimerCpuNanoseconds / 100);
        Core.Shutdown();
        return _shutdown!.Value;
    }

    /// <summary>Ends the run; from any thread, at any time. The first reason counts.</summary>
    public void End(Shutdown shutdown)
    {
        lock (_endLock)
        {
            _shutdown ??= shutdown;
            _ended.Set();
        }
    }

    public void Dispose()
    {
        _virtio?.Dispose();
        _rtc?.Dispose();
        Core?.Dispose();
        Farm?.Dispose();
        Memory.Dispose();
    }

    void ISbiConsole.Write(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
            _serial.Transmit(value);
    }

    int ISbiConsole.Read() => Uart.Take();

    private static void Check(MachineConfiguration configuration, bool boots)
    {
        if (configuration.Harts is < 1 or > MachineConfiguration.MaximumHarts)
            throw new BootException($"a machine has 1 to {MachineConfiguration.MaximumHarts} cpus, not {configuration.Harts}");
        if (configuration.Memory is < MachineConfiguration.MinimumMemory or > MachineConfiguration.MaximumMemory)
            throw new BootException($"a machine has {MachineConfiguration.MinimumMemory >> 20} MiB to {MachineConfiguration.MaximumMemory >> 30} GiB of memory, not {configuration.Memory >> 20} MiB");
        if ((configuration.Memory & ((2 << 20) - 1)) != 0)
            throw new BootException("the size of memory is not a multiple of 2 MiB");
        if (!boots)
            return;
        if (configuration.Kernel is null && configuration.Firmware is null)
            throw new BootException("neither a kernel nor firmware is given");
        if (configuration.Kernel is null && configuration.Initrd is not null)
            throw new BootException("an initrd needs a kernel");
    }

    private SupervisorCalls BuiltInFirmware()
    {
        var calls = new SupervisorCalls();
        var harts = Core.Harts;
        bool IsMemory(ulong address) => address - Memory.RamBase < Memory.RamSize;
        var events = new FirmwareEvents(harts.Count);
        calls.Add(new TimeExtension(events));
        calls.Add(new IpiExtension(harts, events));
        calls.Add(new RemoteFenceExtension(harts, events));
        calls.Add(new HartStateExtension(harts, IsMemory));
        calls.Add(new SystemResetExtension(End));
        calls.Add(new DebugConsoleExtension(this, Memory));
        calls.Add(new SystemSuspendExtension(harts, IsMemory));
        calls.Add(_pmu = new PerformanceMonitoringExtension(harts, events));
        for (uint id = 0; id <= LegacyExtension.Last; id++)
            calls.Add(new LegacyExtension(id, harts, this, End));
        return Sbi = calls;
    }

    private BootPlan Load()
    {
        var loader = new BootLoader(Memory);
        if (_configuration.Firmware is { } firmware)
        {
            var image = BootImage.Load(firmware);
            if (image.Kind == BootImageKind.LinuxImage)
                throw new BootException($"'{firmware}' is a Linux kernel, not firmware; give it as the kernel");
            loader.PlaceFirmware(image, firmware);
        }

        if (_configuration.Kernel is { } kernel)
        {
            var image = BootImage.Load(kernel);
            if (image.Kind == BootImageKind.Raw && _configuration.Firmware is null)
                throw new BootException($"'{kernel}' is neither a riscv64 Linux image nor an ELF file");
            loader.PlaceKernel(image, kernel);
        }

        if (_configuration.Initrd is { } initrd)
            loader.PlaceInitrd(BootImage.ReadFile(initrd), $"'{initrd}'");
        byte[] tree = DeviceTree(loader);
        return loader.Finish(tree, _configuration.Firmware is not null);
    }

    private byte[] DeviceTree(BootLoader loader)
    {
        DeviceTreeNode tree;
        if (_configuration.DeviceTree is { } file)
        {
            try
            {
                tree = FlattenedDeviceTree.Read(BootImage.ReadFile(file));
            }
            catch (DeviceTreeException e)
            {
                throw new BootException($"'{file}' cannot be used: {e.Message}");
            }
        }
        else
        {
            tree = BoardDeviceTree.Create(new BoardDescription
            {
                HartCount = _configuration.Harts,
                MemorySize = _configuration.Memory,
                Features = Core.Features,
                MachineMode = _configuration.Firmware is not null,
                Rtc = _rtc is not null,
                VirtioMmioSlots = _virtio.SlotCount,
                Pci = _configuration.Pci,
            });
        }

        string? arguments = _configuration.Append ?? (_configuration.Kernel is null || _configuration.DeviceTree is not null ? null : _configuration.VirtioConsole ? VirtioArguments : SerialArguments);
        BoardDeviceTree.SetChosen(tree, arguments, loader.Initrd, RandomNumberGenerator.GetBytes(32));
        return FlattenedDeviceTree.Write(tree);
    }

    private sealed class NoSerial : ISerialBackEnd
    {
        public void Transmit(byte value)
        {
        }
    }
}
