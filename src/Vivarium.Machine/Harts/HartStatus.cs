namespace Vivarium.Machine.Harts;

/// <summary>Hart states, numbered as the SBI's HSM extension does.</summary>
public enum HartStatus
{
    Started = 0,
    Stopped = 1,
    StartPending = 2,
    StopPending = 3,
    Suspended = 4,
    SuspendPending = 5,
    ResumePending = 6,
}
