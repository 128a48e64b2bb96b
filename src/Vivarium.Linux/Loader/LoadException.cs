namespace Vivarium.Linux.Loader;

/// <summary>A program cannot be executed: a reason for people, an errno for execve.</summary>
public sealed class LoadException(int errno, string reason) : Exception(reason)
{
    /// <summary>Positive errno that execve returns.</summary>
    public int Errno { get; } = errno;

    /// <summary>Exit status in the manner of a shell: 127 where the program does not exist, else 126.</summary>
    public int ShellStatus => Errno is Linux.Errno.ENOENT or Linux.Errno.ENOTDIR ? 127 : 126;

    /// <summary>The usual words for an errno.</summary>
    public static string Describe(int errno) => errno switch
    {
        Linux.Errno.ENOENT => "no such file",
        Linux.Errno.EACCES => "permission denied",
        Linux.Errno.EPERM => "operation not permitted",
        Linux.Errno.EISDIR => "is a directory",
        Linux.Errno.ENOTDIR => "a part of the path is not a directory",
        Linux.Errno.ELOOP => "too many symbolic links",
        Linux.Errno.ENAMETOOLONG => "name too long",
        Linux.Errno.ENOEXEC => "not an executable format",
        Linux.Errno.ENOMEM => "out of memory",
        Linux.Errno.E2BIG => "arguments and environment are too large",
        Linux.Errno.EMFILE or Linux.Errno.ENFILE => "too many open files",
        Linux.Errno.EIO => "I/O error",
        Linux.Errno.ETXTBSY => "text file busy",
        _ => $"error {errno}",
    };

    public static LoadException Of(int negativeErrno, string what = "") =>
        new(-negativeErrno, what.Length == 0 ? Describe(-negativeErrno) : $"{what}: {Describe(-negativeErrno)}");
}
