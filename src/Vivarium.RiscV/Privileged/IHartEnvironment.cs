namespace Vivarium.RiscV.Privileged;

/// <summary>What a hart needs from the machine around it. Called on the hart's thread.</summary>
public interface IHartEnvironment
{
    /// <summary><c>mtime</c>.</summary>
    ulong Time { get; }

    /// <summary>CLOCK_MONOTONIC in tenths of microseconds where <see cref="Time"/> is 0, for who reads the host's clock itself; null where it is another clock.</summary>
    ulong? TimeOrigin => null;

    /// <summary><c>stimecmp</c> was written: STIP follows time &gt;= compare from now on (<see cref="PrivilegedUnit.SetWire"/>).</summary>
    void SetSupervisorTimer(ulong compare);
}
