namespace Vivarium.Linux.Vfs;

/// <summary>A process's descriptors.</summary>
public sealed partial class FileTable
{
    /// <summary>0, 1 and 2 are the host process's.</summary>
    public static FileTable CreateWithStandardStreams() => new();

    /// <summary>For mmap: the host descriptor behind <paramref name="fd"/> (borrowed), the guest path for /proc/self/maps and the open flags (O_ACCMODE); negative errno.</summary>
    public int HostDescriptor(int fd, out int openFlags, out string path) => throw new NotImplementedException();

    /// <summary>A copy for fork.</summary>
    public FileTable Clone() => throw new NotImplementedException();

    /// <summary>execve: closes what is close-on-exec.</summary>
    public void CloseOnExec() => throw new NotImplementedException();

    /// <summary>The process is gone.</summary>
    public void CloseAll() { }
}
