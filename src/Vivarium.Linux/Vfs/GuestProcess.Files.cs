namespace Vivarium.Linux;

public sealed partial class GuestProcess
{
    /// <summary>The process group that a guest of ours made the terminal's foreground one, as far as it said so.</summary>
    internal int? Foreground { get; set; }

    /// <summary>Number of files that this process has record locks on: closing a descriptor looks further only where it is not 0.</summary>
    internal int LockedFiles;
}
