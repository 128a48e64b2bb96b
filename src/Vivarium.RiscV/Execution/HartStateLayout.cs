using System.Runtime.InteropServices;

namespace Vivarium.RiscV.Execution;

/// <summary>Byte offsets of <see cref="HartState"/>'s fields, for emitted code and for the host's fault handler.</summary>
public static class HartStateLayout
{
    public const int X = 0;
    public const int F = 256;
    public const int Pc = 512;
    public static readonly int MemoryBase = OffsetOf(nameof(HartState.MemoryBase));
    public static readonly int MemorySize = OffsetOf(nameof(HartState.MemorySize));
    public static readonly int Fflags = OffsetOf(nameof(HartState.Fflags));
    public static readonly int Frm = OffsetOf(nameof(HartState.Frm));
    public static readonly int ReservationAddress = OffsetOf(nameof(HartState.ReservationAddress));
    public static readonly int ReservationValue = OffsetOf(nameof(HartState.ReservationValue));
    public static readonly int ExitRequest = OffsetOf(nameof(HartState.ExitRequest));
    public static readonly int FaultSignal = OffsetOf(nameof(HartState.FaultSignal));
    public static readonly int FaultHostPc = OffsetOf(nameof(HartState.FaultHostPc));
    public static readonly int FaultHostAddress = OffsetOf(nameof(HartState.FaultHostAddress));
    public static readonly int KickHostPc = OffsetOf(nameof(HartState.KickHostPc));
    public static readonly int InstructionsRetired = OffsetOf(nameof(HartState.InstructionsRetired));
    public static readonly int ReservationVersion = OffsetOf(nameof(HartState.ReservationVersion));
    public static readonly int ReservationTable = OffsetOf(nameof(HartState.ReservationTable));
    public static readonly int DataTlb = OffsetOf(nameof(HartState.DataTlb));
    public static readonly int Mstatus = OffsetOf(nameof(HartState.Mstatus));
    public static readonly int Sscratch = OffsetOf(nameof(HartState.Sscratch));
    public static readonly int Sepc = OffsetOf(nameof(HartState.Sepc));
    public static readonly int Scause = OffsetOf(nameof(HartState.Scause));
    public static readonly int Stval = OffsetOf(nameof(HartState.Stval));
    public static readonly int SupervisorTlb = OffsetOf(nameof(HartState.SupervisorTlb));
    public static readonly int SupervisorSumTlb = OffsetOf(nameof(HartState.SupervisorSumTlb));
    public static readonly int InterruptWires = OffsetOf(nameof(HartState.InterruptWires));
    public static readonly int InterruptLatches = OffsetOf(nameof(HartState.InterruptLatches));
    public static readonly int Mie = OffsetOf(nameof(HartState.Mie));
    public static readonly int FloatReady = OffsetOf(nameof(HartState.FloatReady));
    public static readonly int ZeroAllowed = OffsetOf(nameof(HartState.ZeroAllowed));
    public static readonly int TimeAllowed = OffsetOf(nameof(HartState.TimeAllowed));
    public static readonly int TimeOrigin = OffsetOf(nameof(HartState.TimeOrigin));
    public static readonly int NearTags = OffsetOf(nameof(HartState.NearTags));
    public static readonly int NearAddends = OffsetOf(nameof(HartState.NearAddends));
    public static readonly int GroupAddends = OffsetOf(nameof(HartState.GroupAddends));
    public static readonly int NearPatience = OffsetOf(nameof(HartState.NearPatience));
    public static readonly int Engine = OffsetOf(nameof(HartState.Engine));

    private static int OffsetOf(string field) => (int)Marshal.OffsetOf<HartState>(field);
}
