using System.CommandLine;
using System.Diagnostics;

namespace Vivarium.Cli;

/// <summary><c>viv image build</c>: runs the scripts that make a bootable Debian system; they are part of the binary.</summary>
internal static class ImageBuildCommand
{
    private static readonly string[] _scripts = ["debian-image", "debian-tree"];

    public static Command Build()
    {
        var system = new Argument<string>("SYSTEM") { Description = "debian-trixie" };
        system.AcceptOnlyFromAmong("debian-trixie");
        var file = new Argument<string>("FILE.img") { Description = "The disk; kernel, initrd and machine file are written beside it" };
        var packages = new Option<string?>("--packages") { Description = "Debian packages to install besides the base system", HelpName = "\"PKG...\"" };
        var size = new Option<string?>("--size") { Description = "Size of the disk (default: 4G; the file is sparse)", HelpName = "SIZE" };
        var cpus = new Option<string?>("--cpus") { Description = "Harts of the machine that installs (default: 2)", HelpName = "N" };
        var build = new Command("build", "Make a bootable Debian disk from Debian's packages, without root; needs a Debian host (apt, dpkg)") { system, file, packages, size, cpus };
        build.SetAction(result =>
        {
            var arguments = new List<string>();
            foreach (var option in new[] { packages, size, cpus })
            {
                if (result.GetValue(option) is { } value)
                    arguments.AddRange([option.Name, value]);
            }

            return Run([.. arguments, "--", result.GetRequiredValue(file)]);
        });
        return build;
    }

    private static int Run(IEnumerable<string> arguments)
    {
        string directory = Directory.CreateTempSubdirectory("viv-build-").FullName;
        try
        {
            foreach (string script in _scripts)
            {
                using var source = typeof(ImageBuildCommand).Assembly.GetManifestResourceStream(script)!;
                string path = Path.Combine(directory, script);
                using (var target = File.Create(path))
                    source.CopyTo(target);
                if (OperatingSystem.IsLinux())
                    File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserExecute);
            }

            var start = new ProcessStartInfo("/bin/bash", [Path.Combine(directory, _scripts[0]), .. arguments]);
            start.Environment["VIV"] = Environment.ProcessPath;
            using var process = Process.Start(start)!;
            process.WaitForExit();
            return process.ExitCode;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.ComponentModel.Win32Exception)
        {
            throw new CommandException(ExitCodes.Failed, $"cannot build the image: {e.Message}");
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
