using Vivarium.Images.Host;

namespace Vivarium.Images.Tests;

/// <summary>A directory for one test.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("viv-test-").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <summary>All files below a directory, with their contents: to compare trees.</summary>
    public static SortedDictionary<string, string> Files(string directory)
    {
        var found = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (string path in Directory.EnumerateFileSystemEntries(directory, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 }))
        {
            string name = System.IO.Path.GetRelativePath(directory, path);
            var info = new FileInfo(path);
            found[name] = info.LinkTarget is { } target ? "-> " + target
                : Directory.Exists(path) ? $"dir {File.GetUnixFileMode(path)}"
                : $"{File.GetUnixFileMode(path)} {File.GetLastWriteTimeUtc(path):O} {File.ReadAllText(path)}";
        }

        return found;
    }

    public void Dispose() => HostFiles.RemoveTree(Path);
}
