using System.CommandLine;
using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.Machine.Board;
using Vivarium.Machine.Boot;
using Vivarium.Machine.Devices;
using Vivarium.Translation.Optimizing;

namespace Vivarium.Cli.Boot;

/// <summary><c>viv boot</c>: a whole machine on the terminal.</summary>
internal static class BootCommand
{
    /// <summary>SIGUSR1, SIGWINCH and SIGABRT on Linux.</summary>
    private const int UserSignal = 10, WindowSignal = 28, AbortSignal = 6;

    public static Command Build()
    {
        var file = new Argument<string?>("MACHINE") { Description = "Machine file (TOML); options come on top of it", Arity = ArgumentArity.ZeroOrOne };
        var check = new Option<bool>("--check") { Description = "Read everything, put the machine together, and say what is wrong, without running it" };
        var stats = new Option<bool>("--stats") { Description = "Print statistics of the run to standard error at its end" };
        var save = new Option<string>("--save") { Description = "Where Ctrl-A s or SIGUSR1 saves the machine, and ends", HelpName = "FILE" };
        var load = new Option<string>("--load") { Description = "Go on from a saved machine of the same settings instead of booting", HelpName = "FILE" };
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

        command.Options.Add(save);
        command.Options.Add(load);
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
                {
                    int status = Run(configuration, reboot: !result.GetValue(noReboot), result.GetValue(stats), result.GetValue(save), result.GetValue(load));
                    CompileFarm.EndProcessIfCompiling(status);
                    return status;
                }

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

    private static int Run(MachineConfiguration configuration, bool reboot, bool stats, string? saveTo, string? loadFrom)
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

        FaultHandler.RestoreDefault(AbortSignal); // CoreCLR's handler would swallow it; native code has none
        // The first machine is made before the terminal changes: what is wrong with it is said on a terminal that works.
        using var serial = new SerialPort(() => console);
        machine = Make(configuration, serial, loadFrom);
        void Save() => SaveMachine(machine, saveTo, problem => console!.Say(problem), () => Quit(0));
        using var saving = saveTo is null ? null : PosixSignalRegistration.Create((PosixSignal)UserSignal, context =>
        {
            context.Cancel = true;
            Save();
        });
        using var terminal = HostTerminal.Open(signal =>
        {
            Quit(128 + signal switch { PosixSignal.SIGHUP => 1, PosixSignal.SIGINT => 2, PosixSignal.SIGQUIT => 3, _ => 15 });
        });
        Volatile.Write(ref console, new SerialConsole(escapes: terminal is not null, Quit, Save));
        using var resizing = !configuration.VirtioConsole ? null : PosixSignalRegistration.Create((PosixSignal)WindowSignal, _ => Resize());
        void Resize()
        {
            if (HostTerminal.Size() is var (columns, rows))
                Volatile.Read(ref machine)?.ResizeConsole(columns, rows);
        }

        try
        {
            while (true)
            {
                console.Attach(machine.Console);
                Resize();
                if (machine.WhyNoFarm is { Length: > 0 } why)
                    Report.Errors.Write($"viv: cannot optimise, tier 1 runs alone: {why}\r\n");
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

    private static VirtualMachine Make(MachineConfiguration configuration, SerialPort serial, string? loadFrom)
    {
        if (loadFrom is null)
            return new VirtualMachine(configuration, serial);
        try
        {
            using var saved = new FileStream(loadFrom, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20);
            return new VirtualMachine(configuration, serial, saved);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException($"cannot read the saved machine '{loadFrom}': {(e is FileNotFoundException or DirectoryNotFoundException ? "no such file" : e.Message)}");
        }
    }

    /// <summary>Saves a machine and ends it where that went well: it must not touch its disks any more. The file appears whole or not at all.</summary>
    private static void SaveMachine(VirtualMachine machine, string? path, Action<string> complain, Action quit)
    {
        if (path is null)
        {
            complain("cannot save: --save FILE says where to");
            return;
        }

        machine.Quiesce();
        try
        {
            string part = path + ".part";
            using (var file = new FileStream(part, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20))
            {
                machine.Save(file);
                file.Flush(flushToDisk: true);
            }

            File.Move(part, path, overwrite: true);
            quit();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            complain($"cannot save to '{path}': {e.Message}");
            machine.Resume();
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
