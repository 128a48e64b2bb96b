namespace Vivarium.Cli;

/// <summary>Exit statuses of viv itself. <c>viv run</c> otherwise ends with the guest's status, or 128+n after signal n.</summary>
internal static class ExitCodes
{
    /// <summary>A command other than <c>run</c> could not do what was asked.</summary>
    public const int Failed = 1;

    /// <summary>A wrong command line of a command other than <c>run</c>.</summary>
    public const int Usage = 2;

    /// <summary><c>viv run</c> itself failed before there was a guest: a wrong command line, no such image. No guest's usual status.</summary>
    public const int RunFailed = 125;

    /// <summary>The program exists but cannot be executed.</summary>
    public const int CannotExecute = 126;

    /// <summary>There is no such program.</summary>
    public const int NotFound = 127;

    /// <summary>Nobody reads the output any more: what shells report of a program that SIGPIPE ended.</summary>
    public const int OutputClosed = 141;
}
