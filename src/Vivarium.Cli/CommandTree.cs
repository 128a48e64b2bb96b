using System.CommandLine;

namespace Vivarium.Cli;

/// <summary>All commands, for help, completion and everything but running programs.</summary>
internal static class CommandTree
{
    public static int Invoke(string[] arguments)
    {
        var root = Build();
        var result = root.Parse(arguments);
        if (result.Errors.Count > 0)
        {
            // A mistyped command also counts as a missing one: the word that was typed is what helps.
            var error = result.Errors.FirstOrDefault(e => e.Message.Contains('\'')) ?? result.Errors[0];
            return Report.Failure(ExitCodes.Usage, $"{error.Message.TrimEnd('.')}; see 'viv --help'");
        }

        try
        {
            return result.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (CommandException e)
        {
            return Report.Failure(e.ExitCode, e.Message);
        }
    }

    private static RootCommand Build()
    {
        var root = new RootCommand("Vivarium: gives a program the virtual execution environment it needs.")
        {
            RunHelp(),
            Boot.BootCommand.Build(),
            ImageCommand.Build(),
            DisasmCommand.Build(),
            CompletionCommand.Build(),
        };
        return root;
    }

    /// <summary><c>run</c> as help and completion see it; the real parser is <see cref="RunCommandLine"/>.</summary>
    private static Command RunHelp()
    {
        var run = new Command("run", "Run a riscv64 Linux program. What follows PROGRAM belongs to the program.");
        foreach (var option in RunCommandLine.Options)
        {
            var shown = new Option<string[]>(option.Name)
            {
                Description = option.Help,
                HelpName = option.ValueName,
                Arity = option.ValueName is null ? ArgumentArity.Zero : option.ValueIsOptional ? ArgumentArity.ZeroOrOne : ArgumentArity.ExactlyOne,
            };
            if (option.Values is { } values)
                shown.CompletionSources.Add(values);
            run.Options.Add(shown);
        }

        run.Arguments.Add(new Argument<FileInfo[]>("PROGRAM [ARGUMENTS]") { Description = "The program and its arguments; with --image by default the image's own", Arity = ArgumentArity.ZeroOrMore });
        run.TreatUnmatchedTokensAsErrors = false;
        run.SetAction(_ => Report.Failure(ExitCodes.RunFailed, "no program given; see 'viv run --help'"));
        return run;
    }
}
