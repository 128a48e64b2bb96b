using Vivarium.Images;

namespace Vivarium.Cli;

/// <summary>The directory that takes what a run changes in its tree: the user's, which stays, or one that is gone with the run.</summary>
internal sealed class UpperDirectory : IDisposable
{
    private FileStream? _lock;
    private bool _temporary;

    private UpperDirectory(string directory) => Directory = directory;

    public string Directory { get; }

    /// <summary>Null where the tree itself is changed (<c>--root</c> alone) or nothing is (<c>--read-only</c>).</summary>
    public static UpperDirectory? For(RunRequest request, RunnableImage? image)
    {
        if (request.ReadOnly)
            return null;
        if (request.Upper is not null)
            return Kept(request.Upper);
        if (image is not null)
            return new UpperDirectory(image.MakeChangesDirectory());
        return request.Overlay ? new UpperDirectory(System.IO.Directory.CreateTempSubdirectory("viv-upper-").FullName) { _temporary = true } : null;
    }

    private static UpperDirectory Kept(string directory)
    {
        try
        {
            directory = Path.GetFullPath(directory);
            System.IO.Directory.CreateDirectory(directory);
            // Two runs at once would not see each other's changes, and lose some.
            var held = new FileStream(Path.Combine(directory, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            return new UpperDirectory(directory) { _lock = held };
        }
        catch (IOException) when (File.Exists(Path.Combine(directory, "lock")))
        {
            throw new CommandException(ExitCodes.RunFailed, $"cannot use '{directory}' for the changes of this run: another run uses it");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandException(ExitCodes.RunFailed, $"cannot use '{directory}' for the changes of this run: {e.Message}");
        }
    }

    public void Dispose()
    {
        _lock?.Dispose();
        if (!_temporary)
            return;
        try
        {
            System.IO.Directory.Delete(Directory, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Report.Errors.WriteLine($"viv: cannot remove '{Directory}': {e.Message}");
        }
    }
}
