using Vivarium.RiscV.Execution;

namespace Vivarium.Linux;

/// <summary>One guest thread (a Linux task): its hart, its host thread, its signal state.</summary>
public sealed class GuestThread
{
    /// <summary>The process this thread belongs to.</summary>
    public required GuestProcess Process { get; init; }

    /// <summary>The thread's registers.</summary>
    public required Hart Hart { get; init; }
}

/// <summary>One guest process: address space, descriptor table, credentials, signal dispositions.</summary>
public sealed class GuestProcess
{
}
