namespace Vivarium.RiscV.Privileged;

/// <summary>Privilege modes, numbered as in <c>mstatus.MPP</c> (Privileged Architecture, "Privilege Levels").</summary>
public enum PrivilegeMode : byte
{
    User = 0,
    Supervisor = 1,
    Machine = 3,
}
