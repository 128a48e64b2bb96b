namespace Vivarium.RiscV.Privileged;

/// <summary>What a hart needs from the machine around it. Called on the hart's thread.</summary>
public interface IHartEnvironment
{
    /// <summary><c>mtime</c>.</summary>
    ulong Time { get; }

    /// <summary><c>stimecmp</c> was written: STIP follows time &gt;= compare from now on (<see cref="PrivilegedUnit.SetWire"/>).</summary>
    void SetSupervisorTimer(ulong compare);
}
