namespace Vivarium.Linux.Vfs;

/// <summary>How a process names files: root policy, working directory, umask.</summary>
public sealed partial class FsContext
{
    /// <summary>See <see cref="RunOptions.Root"/> and <see cref="RunOptions.WorkingDirectory"/>.</summary>
    public static FsContext Create(string? root, string? workingDirectory) => throw new NotImplementedException();

    /// <summary>For the loader: opens a regular file for execution (checks the x permission). A host descriptor (close-on-exec, the
    /// caller's to close) or negative errno; <paramref name="resolved"/> is the absolute guest path without symlinks.</summary>
    public int OpenExecutable(ReadOnlySpan<byte> guestPath, out string resolved) => throw new NotImplementedException();

    /// <summary>A copy for fork.</summary>
    public FsContext Clone() => throw new NotImplementedException();
}
