using Vivarium.Images;
using Vivarium.Linux;
using Vivarium.Translation.Optimizing;

namespace Vivarium.Cli;

/// <summary><c>viv run</c>: makes the world of one guest program out of the command line, and runs it.</summary>
internal static class RunCommand
{
    private const string DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    public static int Run(ReadOnlySpan<string> arguments)
    {
        var request = new RunRequest();
        if (RunCommandLine.Parse(arguments, request) is { } problem)
            return Report.Failure(ExitCodes.RunFailed, problem);

        RunnableImage? image = null;
        TextWriter? strace = null;
        int status;
        try
        {
            if (request.Image is not null)
                image = ImageStore.Open(request.Store).Prepare(request.Image);
            if (request.Strace)
                strace = OpenStrace(request.StraceFile);
            status = RunIn(request, image, strace);
        }
        catch (ImageException e)
        {
            status = Report.Failure(ExitCodes.RunFailed, e.Message);
        }
        catch (IOException e)
        {
            status = Report.Failure(ExitCodes.RunFailed, e.Message);
        }
        catch (CommandException e)
        {
            status = Report.Failure(e.ExitCode, e.Message);
        }
        finally
        {
            if (request.StraceFile is not null)
                strace?.Dispose();
            image?.Dispose();
        }
        CompileFarm.EndProcessIfCompiling(status);
        return status;
    }

    private static int RunIn(RunRequest request, RunnableImage? image, TextWriter? strace)
    {
        string? root = image?.Root ?? request.Root;
        if (request.Root is not null && !Directory.Exists(request.Root))
            throw new CommandException(ExitCodes.RunFailed, $"cannot use '{request.Root}' as a root: {(File.Exists(request.Root) ? "not a directory" : "no such directory")}");

        using var upper = UpperDirectory.For(request, image);
        string[] command = WithImageCommand(request.Command, image);
        string? workingDirectory = request.WorkingDirectory ?? (image?.Config.WorkingDir is { Length: > 0 } directory ? directory : null);
        var environment = GuestEnvironment(request, image, hasRoot: root is not null);
        var options = new RunOptions
        {
            EndsProcess = true,
            Program = command[0],
            SearchPath = environment.GetValueOrDefault("PATH", DefaultPath),
            Arguments = command,
            Environment = [.. environment.Select(pair => pair.Key + "=" + pair.Value)],
            Root = root,
            Upper = upper?.Directory,
            ReadOnly = request.ReadOnly,
            Volumes = request.Volumes,
            TemporaryDirectories = request.TemporaryDirectories,
            WorkingDirectory = workingDirectory,
            Strace = strace,
            Stats = request.Stats,
            StatsAsJson = request.Json,
            CodeCacheSize = (ulong?)request.CodeCacheSize,
            TranslationCache = request.NoTranslationCache ? null : request.TranslationCache ?? DefaultTranslationCache(),
            TranslationCacheIsOptional = request.TranslationCache is null,
            Translation = TranslatorDump.Options(request),
            Optimizer = TranslatorDump.Optimizer(request),
            User = request.User ?? (image?.Config.User is { Length: > 0 } user ? user : null),
            MemoryLimit = (ulong?)request.Memory,
            AddressSpace = (ulong?)request.AddressSpace ?? Linux.Memory.AddressSpace.WindowSize,
            ProcessLimit = request.Pids,
            NoNetwork = request.NoNetwork,
            Errors = Report.Errors,
        };
        if (request.Executor is { } executor)
            options = options with { Executor = executor };
        using var jitDump = options.Translation?.JitDump;
        return ProcessRunner.Run(options);
    }

    /// <summary>Below the user's cache directory (XDG base directories); null where the user has none.</summary>
    private static string? DefaultTranslationCache()
    {
        string? cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
        if (string.IsNullOrEmpty(cache) || !Path.IsPathRooted(cache))
            cache = Environment.GetEnvironmentVariable("HOME") is { Length: > 0 } home && Path.IsPathRooted(home) ? Path.Combine(home, ".cache") : null;
        return cache is null ? null : Path.Combine(cache, "vivarium/translations");
    }

    /// <summary>As containers do: the entry point with the given arguments, or with the image's own command.</summary>
    private static string[] WithImageCommand(string[] given, RunnableImage? image)
    {
        if (image is null)
            return given;
        string[] entrypoint = [.. image.Config.Entrypoint ?? []];
        string[] command = [.. entrypoint, .. given.Length > 0 ? given : image.Config.Cmd ?? []];
        return command.Length > 0
            ? command
            : throw new CommandException(ExitCodes.RunFailed, $"image '{image.Name}' names no command; give one after the options");
    }

    /// <summary>Without a root the guest shares the host's world and so its environment; with one it starts clean.</summary>
    private static Dictionary<string, string> GuestEnvironment(RunRequest request, RunnableImage? image, bool hasRoot)
    {
        var environment = new Dictionary<string, string>(StringComparer.Ordinal);
        if (hasRoot)
        {
            environment["PATH"] = DefaultPath;
            environment["HOME"] = "/root";
            if (Environment.GetEnvironmentVariable("TERM") is { Length: > 0 } terminal)
                environment["TERM"] = terminal;
            foreach (string pair in image?.Config.Env ?? [])
                Add(pair);
        }
        else
        {
            foreach (System.Collections.DictionaryEntry pair in Environment.GetEnvironmentVariables())
                environment[(string)pair.Key] = (string?)pair.Value ?? "";
        }

        foreach (string pair in request.Environment)
            Add(pair);
        return environment;

        void Add(string pair)
        {
            int equals = pair.IndexOf('=');
            if (equals > 0)
                environment[pair[..equals]] = pair[(equals + 1)..];
            else if (Environment.GetEnvironmentVariable(pair) is { } value)
                environment[pair] = value;
        }
    }

    private static TextWriter OpenStrace(string? file)
    {
        if (file is null)
            return Report.Errors;
        try
        {
            return TextWriter.Synchronized(new StreamWriter(file) { AutoFlush = true });
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandException(ExitCodes.RunFailed, $"cannot write the syscall log '{file}': {e.Message}");
        }
    }
}
