namespace Vivarium.Linux;

public sealed partial class GuestProcess
{
    /// <summary>Number of files that this process has record locks on: closing a descriptor looks further only where it is not 0.</summary>
    internal int LockedFiles;
}

public sealed partial class Realm
{
    /// <summary>The process group that a guest made the terminal's foreground one (tcsetpgrp); 0 while nobody has.</summary>
    internal volatile int Foreground;
}
