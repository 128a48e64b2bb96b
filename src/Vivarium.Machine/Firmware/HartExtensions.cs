using System.Numerics;
using Vivarium.Machine.Harts;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Firmware;

/// <summary>TIME (SBI 2.0, chapter 6): the next supervisor timer interrupt.</summary>
public sealed class TimeExtension(FirmwareEvents? events = null) : ISbiExtension
{
    public uint Id => 0x54494D45;

    public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments)
    {
        if (function != 0)
            return SbiError.NotSupported;
        hart.SetTimer(arguments[0]);
        events?.Count(hart.Id, FirmwareEvent.SetTimer);
        return SbiResult.Ok();
    }
}

/// <summary>IPI (chapter 7): supervisor software interrupts.</summary>
public sealed class IpiExtension(IReadOnlyList<MachineHart> harts, FirmwareEvents? events = null) : ISbiExtension
{
    public uint Id => 0x735049;

    public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments)
    {
        if (function != 0)
            return SbiError.NotSupported;
        if (!HartMask.TryGet(harts, arguments[0], arguments[1], out ulong mask))
            return SbiError.InvalidParameter;
        events?.CountSent(hart.Id, FirmwareEvent.IpiSent, mask);
        for (; mask != 0; mask &= mask - 1)
            harts[BitOperations.TrailingZeroCount(mask)].SetInterrupt(1, true);
        return SbiResult.Ok();
    }
}

/// <summary>RFENCE (chapter 8): fences on other harts. Those for guest addresses need the hypervisor extension.</summary>
public sealed class RemoteFenceExtension(IReadOnlyList<MachineHart> harts, FirmwareEvents? events = null) : ISbiExtension
{
    public uint Id => 0x52464E43;

    public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments)
    {
        (ulong start, ulong size) = (arguments[2], arguments[3]);
        switch (function)
        {
            case 0:
                return Send(FenceKind.Instructions, 0, ulong.MaxValue, 0);
            case 1 or 2:
                if (size != ulong.MaxValue && start + size < start)
                    return SbiError.InvalidAddress;
                if (start == 0 && size == 0)
                    size = ulong.MaxValue; // "start and size both 0" means everything
                return function == 1 ? Send(FenceKind.AddressSpaces, start, size, 0) : Send(FenceKind.OneAddressSpace, start, size, arguments[4] & 0xffff);
            default:
                return SbiError.NotSupported;
        }

        SbiResult Send(FenceKind kind, ulong from, ulong length, ulong asid)
        {
            if (!HartMask.TryGet(harts, arguments[0], arguments[1], out ulong mask))
                return SbiError.InvalidParameter;
            hart.Core.RemoteFence(mask, kind, from, length, asid);
            events?.CountSent(hart.Id, kind switch
            {
                FenceKind.Instructions => FirmwareEvent.FenceISent,
                FenceKind.AddressSpaces => FirmwareEvent.SfenceVmaSent,
                _ => FirmwareEvent.SfenceVmaAsidSent,
            }, mask);
            return SbiResult.Ok();
        }
    }
}

/// <summary>HSM (chapter 9): starting and stopping harts.</summary>
public sealed class HartStateExtension(IReadOnlyList<MachineHart> harts, Func<ulong, bool> isMemory) : ISbiExtension
{
    private const ulong DefaultRetentive = 0, DefaultNonRetentive = 0x8000_0000;

    public uint Id => 0x48534D;

    public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments)
    {
        switch (function)
        {
            case 0:
                return Start(arguments[0], arguments[1], arguments[2]);
            case 1:
                hart.Stop();
                return SbiResult.Ok();
            case 2:
                return arguments[0] < (ulong)harts.Count ? SbiResult.Ok((ulong)harts[(int)arguments[0]].Status) : SbiError.InvalidParameter;
            case 3:
                switch (arguments[0] & 0xffff_ffff)
                {
                    case DefaultRetentive:
                        hart.Suspend();
                        return SbiResult.Ok();
                    case DefaultNonRetentive when !isMemory(arguments[1]):
                        return SbiError.InvalidAddress;
                    case DefaultNonRetentive:
                        hart.SuspendAndResumeAt(arguments[1], arguments[2]);
                        return SbiResult.Ok();
                    case < 0x1000_0000 or (> DefaultNonRetentive and < 0x9000_0000): // reserved; above them the platform's own
                        return SbiError.InvalidParameter;
                    default:
                        return SbiError.NotSupported;
                }

            default:
                return SbiError.NotSupported;
        }
    }

    private SbiResult Start(ulong id, ulong address, ulong opaque)
    {
        if (id >= (ulong)harts.Count)
            return SbiError.InvalidParameter;
        if (!isMemory(address))
            return SbiError.InvalidAddress;
        return harts[(int)id].Start(address, PrivilegeMode.Supervisor, id, opaque) ? SbiResult.Ok() : SbiError.AlreadyAvailable;
    }
}
