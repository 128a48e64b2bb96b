using System.CommandLine;

namespace Vivarium.Cli;

/// <summary><c>viv completion SHELL</c>: a script that asks viv itself what may come next.</summary>
internal static class CompletionCommand
{
    private const string Bash = """
        # viv completion for bash: source <(viv completion bash)
        _viv() {
            local line=${COMP_LINE} point=${COMP_POINT} word=${COMP_WORDS[COMP_CWORD]}
            mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" "[suggest:${point}]" "viv ${line#* }" 2>/dev/null | grep -F -- "${word}")
            COMPREPLY=($(compgen -W "${COMPREPLY[*]}" -- "${word}"))
            [ ${#COMPREPLY[@]} -gt 0 ] || compopt -o default
        }
        complete -F _viv viv ./viv
        """;

    private const string Zsh = """
        # viv completion for zsh: source <(viv completion zsh)
        _viv() {
            local -a found
            found=("${(@f)$(${words[1]} "[suggest:${CURSOR}]" "viv ${BUFFER#* }" 2>/dev/null)}")
            [[ -n "${found[1]}" ]] && compadd -- "${found[@]}" || _files
        }
        compdef _viv viv
        """;

    private const string Fish = """
        # viv completion for fish: viv completion fish | source
        complete -c viv -f -a '(viv "[suggest:"(commandline -C)"]" (commandline -cp))'
        complete -c viv -F -n '__fish_seen_subcommand_from run disasm import'
        """;

    public static Command Build()
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish" };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        var command = new Command("completion", "Print a script that completes viv's commands and options in a shell") { shell };
        command.SetAction(result => Report.Line(result.GetRequiredValue(shell) switch { "bash" => Bash, "zsh" => Zsh, _ => Fish }));
        return command;
    }
}
