namespace Vivarium.Host;

/// <summary>How the emitted signal handlers treat a host pc inside a registered code region.</summary>
/// <param name="Start">First host address of the region.</param>
/// <param name="End">First host address after it.</param>
/// <param name="ContextBias">Emitted code keeps in rbp the address of its context plus this.</param>
/// <param name="FaultHostPcOffset">Context offset (8 bytes) that receives the faulting rip.</param>
/// <param name="FaultAddressOffset">Context offset (8 bytes) that receives si_addr.</param>
/// <param name="FaultSignalOffset">Context offset (4 bytes) that receives the signal number.</param>
/// <param name="FaultStub">Where execution goes on after a fault (all registers but rip as at the fault).</param>
/// <param name="KickHostPcOffset">Context offset (8 bytes) that receives the interrupted rip of a kick.</param>
/// <param name="KickStub">Where execution goes on after a kick (all registers but rip as they were), or 0 for none.</param>
/// <remarks>A kick redirects only code inside the region; everywhere else it is forgotten. Who wants none lost lays the region so that it
/// contains, after every way in (from C# and back from helpers), the test of the flag that the kicker sets first, and all code from there to the exit;
/// the kick stub lies outside and leaves with state that is precise for the interrupted pc.</remarks>
public readonly record struct CodeRegion(
    ulong Start, ulong End, int ContextBias,
    int FaultHostPcOffset, int FaultAddressOffset, int FaultSignalOffset, ulong FaultStub,
    int KickHostPcOffset, ulong KickStub);
