namespace Vivarium.Cli;

/// <summary>A command cannot go on: one line for people, and the exit status.</summary>
internal sealed class CommandException(int exitCode, string message) : Exception(message)
{
    public int ExitCode { get; } = exitCode;
}
