using System.Buffers;
using Vivarium.Machine.Buses;
using Vivarium.Machine.Devices;
using Vivarium.Machine.Harts;

namespace Vivarium.Machine.Firmware;

/// <summary>SRST (SBI 2.0, chapter 10): power off and reboot.</summary>
public sealed class SystemResetExtension(Action<Shutdown> shutdown) : ISbiExtension
{
    public uint Id => 0x53525354;

    public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments)
    {
        if (function != 0)
            return SbiError.NotSupported;
        (ulong type, ulong reason) = (arguments[0] & 0xffff_ffff, arguments[1] & 0xffff_ffff);
        if (reason > 1 && reason < 0xe000_0000)
            return SbiError.InvalidParameter;
        switch (type)
        {
            case 0:
                shutdown(reason == 0 ? new Shutdown(ShutdownKind.PowerOff) : new Shutdown(ShutdownKind.Failure, 1));
                return SbiResult.Ok();
            case 1 or 2:
                shutdown(new Shutdown(ShutdownKind.Reboot));
                return SbiResult.Ok();
            default:
                return type < 0xf000_0000 ? SbiError.InvalidParameter : SbiError.NotSupported;
        }
    }
}

/// <summary>The console that SBI calls write to and read from.</summary>
public interface ISbiConsole
{
    void Write(ReadOnlySpan<byte> bytes);

    /// <summary>The next byte of input, or -1.</summary>
    int Read();
}

/// <summary>DBCN (chapter 12): the debug console.</summary>
public sealed class DebugConsoleExtension(ISbiConsole console, PhysicalMemory memory) : ISbiExtension
{
    private const int Chunk = 4096; // more is written by calling again, as the specification allows

    public uint Id => 0x4442434E;

    public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments)
    {
        switch (function)
        {
            case 0 or 1:
                if (arguments[2] != 0)
                    return SbiError.InvalidParameter;
                int length = (int)Math.Min(arguments[0], Chunk);
                byte[] buffer = ArrayPool<byte>.Shared.Rent(Chunk);
                try
                {
                    return function == 0 ? Write(buffer.AsSpan(0, length), arguments[1]) : Read(buffer.AsSpan(0, length), arguments[1]);
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                }

            case 2:
                console.Write([(byte)arguments[0]]);
                return SbiResult.Ok();
            default:
                return SbiError.NotSupported;
        }
    }

    private SbiResult Write(Span<byte> bytes, ulong address)
    {
        if (!memory.TryReadBytes(address, bytes))
            return SbiError.InvalidParameter;
        console.Write(bytes);
        return SbiResult.Ok((ulong)bytes.Length);
    }

    private SbiResult Read(Span<byte> bytes, ulong address)
    {
        if (!memory.TryReadBytes(address, bytes)) // before input is taken
            return SbiError.InvalidParameter;
        int count = 0;
        while (count < bytes.Length && console.Read() is >= 0 and int value)
            bytes[count++] = (byte)value;
        memory.TryWriteBytes(address, bytes[..count]);
        return SbiResult.Ok((ulong)count);
    }
}

/// <summary>SUSP (chapter 13): the whole machine sleeps until an interrupt that the calling hart's <c>sie</c> enables.</summary>
public sealed class SystemSuspendExtension(IReadOnlyList<MachineHart> harts, Func<ulong, bool> isMemory) : ISbiExtension
{
    private const ulong SuspendToRam = 0;

    public uint Id => 0x53555350;

    public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments)
    {
        if (function != 0)
            return SbiError.NotSupported;
        ulong type = arguments[0] & 0xffff_ffff;
        if (type != SuspendToRam)
            return type < 0x8000_0000 ? SbiError.InvalidParameter : SbiError.NotSupported; // reserved; the platform's own
        if (!isMemory(arguments[1]))
            return SbiError.InvalidAddress;
        if (harts.Any(other => other != hart && other.Status != HartStatus.Stopped))
            return SbiError.Denied;
        hart.SuspendAndResumeAt(arguments[1], arguments[2]);
        return SbiResult.Ok();
    }
}

/// <summary>The calls of SBI 0.1 (chapter 5), one id each. Hart masks lie at virtual addresses there: IPIs and fences go to all harts, which
/// may be more than asked for.</summary>
public sealed class LegacyExtension(uint id, IReadOnlyList<MachineHart> harts, ISbiConsole console, Action<Shutdown> shutdown) : ISbiExtension
{
    /// <summary>The last of the legacy ids.</summary>
    public const uint Last = 8;

    public uint Id => id;

    public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments)
    {
        switch (id)
        {
            case 0:
                hart.SetTimer(arguments[0]);
                break;
            case 1:
                console.Write([(byte)arguments[0]]);
                break;
            case 2:
                return SbiResult.Ok(unchecked((ulong)(long)console.Read()));
            case 3:
                hart.SetInterrupt(1, false);
                break;
            case 4:
                foreach (var other in harts)
                    other.SetInterrupt(1, true);
                break;
            case 5 or 6 or 7:
                hart.Core.RemoteFence(ulong.MaxValue, id == 5 ? FenceKind.Instructions : FenceKind.AddressSpaces);
                break;
            case 8:
                shutdown(new Shutdown(ShutdownKind.PowerOff));
                break;
        }

        return SbiResult.Ok();
    }
}
