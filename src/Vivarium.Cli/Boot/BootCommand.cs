using System.CommandLine;
using System.Runtime.InteropServices;
using Vivarium.Machine.Board;
using Vivarium.Machine.Boot;
using Vivarium.Machine.Devices;

namespace Vivarium.Cli.Boot;

/// <summary><c>viv boot</c>: a whole machine on the terminal.</summary>
internal static class BootCommand
{
    public static Command Build()
    {
        var file = new Argument<string?>("MACHINE") { Description = "Machine file (TOML); options come on top of it", Arity = ArgumentArity.ZeroOrOne };
        var check = new Option<bool>("--check") { Description = "Read everything, put the machine together, and say what is wrong, without running it" };
        var stats = new Option<bool>("--stats") { Description = "Print statistics of the run to standard error at its end" };
        var noReboot = new Option<bool>("--no-reboot") { Description = "End where the guest asks for a reboot" };
        var command = new Command("boot", "Boot a riscv64 machine. Its serial port is the terminal; Ctrl-A x ends it.") { file };
        var options = new List<(BootSetting Setting, Option<string[]> Option)>();
        foreach (var setting in BootSettings.All)
        {
            var option = new Option<string[]>(setting.Option)
            {
                Description = setting.Help,
                HelpName = setting.ValueName,
                Arity = setting.ValueName is null ? ArgumentArity.Zero : ArgumentArity.OneOrMore, // of a scalar the last one counts
                AllowMultipleArgumentsPerToken = false,
            };
            if (setting.Values is { } values)
                option.CompletionSources.Add(values);
            command.Options.Add(option);
            options.Add((setting, option));
        }

        command.Options.Add(noReboot);
        command.Options.Add(stats);
        command.Options.Add(check);
        command.SetAction(result =>
        {
            var configuration = new MachineConfiguration();
            if (result.GetValue(file) is ['-', ..] unknown)
                throw new CommandException(ExitCodes.RunFailed, $"cannot boot: unknown option '{unknown}'; see 'viv boot --help'");
            if (result.GetValue(file) is { } path)
                MachineFile.Read(path, configuration);
            foreach (var (setting, option) in options)
            {
                if (result.GetResult(option) is null)
                    continue;
                string[] given = setting.Kind == SettingKind.Switch ? ["true"] : result.GetValue(option) ?? [];
                if (setting.Kind is not (SettingKind.List or SettingKind.FileList) && given.Length > 1)
                    given = given[^1..];
                foreach (string value in given)
                {
                    if (setting.Apply(configuration, value) is { } problem)
                        throw new CommandException(ExitCodes.RunFailed, $"cannot boot: {setting.Option} {problem}");
                }
            }

            try
            {
                if (!result.GetValue(check))
                    return Run(configuration, reboot: !result.GetValue(noReboot), result.GetValue(stats));
                VirtualMachine.TryOut(configuration);
                return 0;
            }
            catch (BootException e)
            {
                return Report.Failure(ExitCodes.RunFailed, $"cannot boot: {e.Message}");
            }
        });
        return command;
    }

    private static int Run(MachineConfiguration configuration, bool reboot, bool stats)
    {
        VirtualMachine? machine = null;
        SerialConsole? console = null;
        int status = 0; // where the session is ended from outside
        bool quit = false;
        void Quit(int because)
        {
            Volatile.Write(ref status, because);
            Volatile.Write(ref quit, true);
            Volatile.Read(ref console)?.Hurry();
            Volatile.Read(ref machine)?.End(new Shutdown(ShutdownKind.Quit));
        }

        // The first machine is made before the terminal changes: what is wrong with it is said on a terminal that works.
        using var serial = new SerialPort(() => console);
        machine = new VirtualMachine(configuration, serial);
        using var terminal = HostTerminal.Open(signal =>
        {
            Quit(128 + signal switch { PosixSignal.SIGHUP => 1, PosixSignal.SIGINT => 2, PosixSignal.SIGQUIT => 3, _ => 15 });
        });
        Volatile.Write(ref console, new SerialConsole(escapes: terminal is not null, Quit));
        try
        {
            while (true)
            {
                console.Attach(machine.Uart);
                if (Volatile.Read(ref quit))
                    machine.End(new Shutdown(ShutdownKind.Quit));
                var shutdown = machine.Run();
                console.Drain();
                if (stats)
                    BootStatistics.Print(machine);
                if (shutdown.Kind == ShutdownKind.Reboot && reboot)
                {
                    machine.Dispose();
                    Volatile.Write(ref machine, new VirtualMachine(configuration, serial));
                    continue;
                }

                return shutdown.Kind switch
                {
                    ShutdownKind.Failure => shutdown.Code is > 0 and < 256 ? shutdown.Code : 1,
                    ShutdownKind.Quit => Volatile.Read(ref status),
                    _ => 0,
                };
            }
        }
        finally
        {
            console.Dispose();
            machine.Dispose();
        }
    }

    /// <summary>What a machine writes to before and after there is a console.</summary>
    private sealed class SerialPort(Func<SerialConsole?> console) : ISerialBackEnd, IDisposable
    {
        public void Transmit(byte value) => console()?.Transmit(value);

        public void Dispose()
        {
        }
    }
}
