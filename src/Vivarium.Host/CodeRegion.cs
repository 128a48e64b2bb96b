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
public readonly record struct CodeRegion(
    ulong Start, ulong End, int ContextBias,
    int FaultHostPcOffset, int FaultAddressOffset, int FaultSignalOffset, ulong FaultStub,
    int KickHostPcOffset, ulong KickStub);
