using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;
using Vivarium.Images;

namespace Vivarium.Cli;

/// <summary><c>viv image</c>: the images on this machine.</summary>
internal static class ImageCommand
{
    private static readonly Option<string?> _store = new("--store") { Description = "Image store (default: $VIV_STORE, else ~/.local/share/vivarium)", HelpName = "DIR", Recursive = true };
    private static readonly Option<bool> _json = new("--json") { Description = "Print JSON" };

    public static Command Build() => new("image", "Import, list and remove the root file systems that programs run in")
    {
        _store,
        BuildImport(),
        BuildInitrd(),
        ImageBuildCommand.Build(),
        BuildList(),
        BuildInspect(),
        BuildVerify(),
        BuildRemove(),
    };

    private static Command BuildInitrd()
    {
        var tree = new Argument<string>("DIRECTORY") { Description = "The tree to pack; its files become root's" };
        var file = new Argument<string>("FILE") { Description = "The archive (cpio in newc format, gzip)" };
        var initrd = new Command("initrd", "Pack a directory as an initial RAM file system for viv boot --initrd") { tree, file };
        initrd.SetAction(result => Guard(() =>
        {
            if (!Directory.Exists(result.GetRequiredValue(tree)))
                throw new CommandException(ExitCodes.Failed, $"cannot pack '{result.GetRequiredValue(tree)}': no such directory");
            try
            {
                Vivarium.Machine.Boot.InitialRamFileSystem.Pack(result.GetRequiredValue(tree), result.GetRequiredValue(file));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new CommandException(ExitCodes.Failed, $"cannot pack '{result.GetRequiredValue(tree)}': {e.Message}");
            }

            return 0;
        }));
        return initrd;
    }

    private static Command BuildImport()
    {
        var source = new Argument<string>("SOURCE") { Description = "rootfs.tar[.gz|.zst|.xz], a directory, an OCI image layout, or - for standard input" };
        var name = new Argument<string>("NAME") { Description = "Name of the image; an image of that name is replaced" };
        var lower = new Option<string?>("--base") { Description = "Lay SOURCE over this image (whiteouts hide files of it)", HelpName = "NAME" };
        var env = new Option<string[]>("--env") { Description = "Variable of the programs that run in it", HelpName = "NAME=VALUE" };
        var command = new Option<string[]>("--cmd") { Description = "Default command, one word each time", HelpName = "WORD" };
        var entrypoint = new Option<string[]>("--entrypoint") { Description = "Words before every command", HelpName = "WORD" };
        var workdir = new Option<string?>("--workdir") { Description = "Initial working directory", HelpName = "DIR" };
        var user = new Option<string?>("--user") { Description = "User that programs run as", HelpName = "USER" };
        var quiet = new Option<bool>("--quiet") { Description = "No progress" };
        var import = new Command("import", "Import a root file system as an image") { source, name, lower, env, command, entrypoint, workdir, user, quiet };
        import.SetAction(result => Guard(() =>
        {
            using var progress = new ProgressLine(enabled: !result.GetValue(quiet) && !Console.IsErrorRedirected);
            foreach (string pair in result.GetValue(env) ?? [])
            {
                if (pair.IndexOf('=') <= 0)
                    throw new CommandException(ExitCodes.Usage, $"--env needs NAME=VALUE, not '{pair}'");
            }

            var imported = Open(result).Import(new ImportRequest
            {
                Source = result.GetRequiredValue(source),
                Name = result.GetRequiredValue(name),
                Base = result.GetValue(lower),
                Progress = progress.Show,
                Config = new OciProcessConfig
                {
                    Env = Words(result.GetValue(env)),
                    Cmd = Words(result.GetValue(command)),
                    Entrypoint = Words(result.GetValue(entrypoint)),
                    WorkingDir = result.GetValue(workdir),
                    User = result.GetValue(user),
                },
            });
            progress.Dispose();
            foreach (string note in imported.Notes)
                Report.Errors.WriteLine("viv: note: " + note);
            return Report.Line($"{imported.Name} {imported.Digest}");
        }));
        return import;
    }

    private static Command BuildList()
    {
        var list = new Command("ls", "List the images") { _json };
        list.SetAction(result => Guard(() =>
        {
            var images = Open(result).List();
            if (result.GetValue(_json))
                return Report.Line(JsonSerializer.Serialize([.. images], CliJson.Default.ImageSummaryArray));
            if (Console.IsOutputRedirected)
            {
                foreach (var image in images)
                    Report.Line(string.Join('\t', image.Name, ShortDigest(image.Digest), image.Layers, image.Size, image.Damage ?? "ok"));
                return 0;
            }

            var table = new Table().Border(TableBorder.None);
            foreach (string column in (ReadOnlySpan<string>)["NAME", "DIGEST", "LAYERS", "SIZE", "CREATED"])
                table.AddColumn(new TableColumn(column).NoWrap().PadRight(3));
            foreach (var image in images)
            {
                table.AddRow(
                    Markup.Escape(image.Name),
                    ShortDigest(image.Digest),
                    image.Damage is null ? image.Layers.ToString(CultureInfo.InvariantCulture) : "[red]damaged[/]",
                    Size(image.Size),
                    image.Created?.ToLocalTime().ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) ?? "");
            }

            AnsiConsole.Write(table);
            return 0;
        }));
        return list;
    }

    private static Command BuildInspect()
    {
        var name = NameArgument();
        var inspect = new Command("inspect", "Show an image's configuration and layers") { name, _json };
        inspect.SetAction(result => Guard(() =>
        {
            var details = Open(result).Inspect(result.GetRequiredValue(name));
            if (result.GetValue(_json))
                return Report.Line(JsonSerializer.Serialize(details, CliJson.Default.ImageDetails));
            var process = details.Config.Config ?? new OciProcessConfig();
            Report.Line($"name        {details.Name}");
            Report.Line($"digest      {details.Digest}");
            Report.Line($"platform    {details.Config.OS}/{details.Config.Architecture}");
            Report.Line($"created     {details.Config.Created?.ToString("u", CultureInfo.InvariantCulture)}");
            Report.Line($"entrypoint  {string.Join(' ', process.Entrypoint ?? [])}");
            Report.Line($"cmd         {string.Join(' ', process.Cmd ?? [])}");
            Report.Line($"workdir     {process.WorkingDir}");
            Report.Line($"user        {process.User}");
            foreach (string pair in process.Env ?? [])
                Report.Line($"env         {pair}");
            for (int i = 0; i < details.Manifest.Layers.Count; i++)
            {
                var layer = details.Manifest.Layers[i];
                Report.Line($"layer       {layer.Digest} {Size(layer.Size)} {layer.MediaType}");
                Report.Line($"  diff id   {details.Config.Rootfs.DiffIds[i]}");
            }

            return Report.Line($"tree        {details.Tree ?? "(unpacked at the next run)"}");
        }));
        return inspect;
    }

    private static Command BuildVerify()
    {
        var name = NameArgument();
        var verify = new Command("verify", "Read an image through and compare all digests") { name };
        verify.SetAction(result => Guard(() =>
        {
            Open(result).Verify(result.GetRequiredValue(name));
            return Report.Line($"{result.GetRequiredValue(name)}: all digests match");
        }));
        return verify;
    }

    private static Command BuildRemove()
    {
        var name = NameArgument();
        var remove = new Command("rm", "Remove an image and what only it used") { name };
        remove.SetAction(result => Guard(() =>
        {
            Open(result).Remove(result.GetRequiredValue(name));
            return 0;
        }));
        return remove;
    }

    private static Argument<string> NameArgument()
    {
        var name = new Argument<string>("NAME") { Description = "Name of the image" };
        name.CompletionSources.Add(_ =>
        {
            try
            {
                return ImageStore.Open(null).List().Select(image => new System.CommandLine.Completions.CompletionItem(image.Name));
            }
            catch (ImageException)
            {
                return [];
            }
        });
        return name;
    }

    private static ImageStore Open(ParseResult result) => ImageStore.Open(result.GetValue(_store));

    private static int Guard(Func<int> work)
    {
        try
        {
            return work();
        }
        catch (ImageException e)
        {
            return Report.Failure(ExitCodes.Failed, e.Message);
        }
    }

    private static string[]? Words(string[]? given) => given is { Length: > 0 } ? given : null;

    private static string ShortDigest(string digest) => digest[7..19];

    private static string Size(long bytes) => bytes switch
    {
        < 1 << 10 => $"{bytes} B",
        < 1 << 20 => $"{bytes >> 10} KiB",
        < 10 << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:0.0} MiB"),
        _ => $"{bytes >> 20} MiB",
    };
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, WriteIndented = true)]
[JsonSerializable(typeof(ImageSummary[]))]
[JsonSerializable(typeof(ImageDetails))]
internal sealed partial class CliJson : JsonSerializerContext;
