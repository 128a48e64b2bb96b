namespace Vivarium.Linux.Vfs;

/// <summary>What an open file remembers of the file system that it came from, where that is not simply the host's root directory.</summary>
/// <param name="fileSystem">Where relative walks from it go on.</param>
/// <param name="lower">It lies in a layer that must not change: who wants to change it copies it up first.</param>
internal sealed class FileLayer(FileSystem fileSystem, bool lower)
{
    public FileSystem FileSystem { get; } = fileSystem;

    /// <summary>Cleared when the file has been copied up and the host descriptor stands for the copy.</summary>
    public bool Lower { get; set; } = lower;

    /// <summary>Directory of an overlay: its path there as of <see cref="Renames"/>; null for what is no directory.</summary>
    public byte[]? Path { get; init; }

    /// <summary>The overlay's count of renamed directories when <see cref="Path"/> was right.</summary>
    public int Renames { get; init; }

    /// <summary>The same for another open file.</summary>
    public FileLayer Copy() => new(FileSystem, Lower) { Path = Path, Renames = Renames };
}
