namespace Vivarium.Cli;

/// <summary>The entry of <c>viv</c>.</summary>
internal static class Program
{
    public static int Main(string[] arguments)
    {
        Host.HostHeap.KeepSmall();
        try
        {
            // `viv run` starts in milliseconds: it never touches the command tree, whose construction alone costs more than a short guest.
            return arguments switch
            {
                ["run", ..] when !RunCommandLine.AsksForHelp(arguments.AsSpan(1)) => RunCommand.Run(arguments.AsSpan(1)),
                ["--version"] => Report.Line(VersionText.Line),
                _ => CommandTree.Invoke(arguments),
            };
        }
        catch (Exception e) when (Environment.GetEnvironmentVariable("VIV_DEBUG") != "1")
        {
            return Report.Failure(125, $"internal error: {e.GetType().Name}: {e.Message} (VIV_DEBUG=1 shows where)");
        }
    }
}
