using Vivarium.Linux.Loader;
using Vivarium.Linux.Memory;

namespace Vivarium.Linux.Threads;

/// <summary>execve and execveat.</summary>
internal static class Executing
{
    private const int AT_FDCWD = -100, AT_EMPTY_PATH = 0x1000, AT_SYMLINK_NOFOLLOW = 0x100;

    private const int StringLimit = 128 << 10, TotalLimit = 2 << 20;

    public static long ExecuteAt(GuestThread thread, in SyscallArgs args)
    {
        int fd = (int)args.A0;
        if (((int)args.A4 & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) != 0) return -Errno.EINVAL;
        string? path = thread.Window.ReadString(args.A1, 4096, out int error);
        if (path == null) return error;
        if (path.Length == 0 && ((int)args.A4 & AT_EMPTY_PATH) == 0) return -Errno.ENOENT;
        if (!path.StartsWith('/') && fd != AT_FDCWD)
        {
            // O_PATH will do.
            if (thread.Process.Files.Acquire(fd) is not { } file) return -Errno.EBADF;
            bool isDirectory = file.Node?.IsDirectory ?? (Vfs.FileStat.OfDescriptor(file.HostDescriptor, out var stat) >= 0 && (stat.Mode & Vfs.FileType.Mask) == Vfs.FileType.Directory);
            string directory = file.Path;
            file.Release();
            if (path.Length > 0 && !isDirectory) return -Errno.ENOTDIR;
            path = path.Length == 0 ? directory : directory + "/" + path;
        }
        if (((int)args.A4 & AT_SYMLINK_NOFOLLOW) != 0 && thread.Process.Fs.IsLink(thread.Process, path)) return -Errno.ELOOP;
        return Execute(thread, path, args.A2, args.A3);
    }

    public static long Execute(GuestThread thread, ulong pathAddress, ulong argumentsAddress, ulong environmentAddress)
    {
        string? path = thread.Window.ReadString(pathAddress, 4096, out int error);
        if (path == null) return error;
        return path.Length == 0 ? -Errno.ENOENT : Execute(thread, path, argumentsAddress, environmentAddress);
    }

    private static long Execute(GuestThread thread, string path, ulong argumentsAddress, ulong environmentAddress)
    {
        int budget = TotalLimit;
        long error = ReadStrings(thread, argumentsAddress, ref budget, out var arguments);
        if (error < 0) return error;
        error = ReadStrings(thread, environmentAddress, ref budget, out var environment);
        if (error < 0) return error;
        if (arguments.Count == 0) arguments.Add("");
        var process = thread.Process;
        AddressSpace? memory = null;
        try
        {
            using var prepared = ProgramLoader.Prepare(process.Fs, path, arguments, process);
            memory = process.Realm.CreateAddressSpace();
            var program = ProgramLoader.Load(prepared, memory, environment, path, prepared.CredentialsFor(process.Credentials, process.NoNewPrivileges), process.Limits);
            if (!process.EndOtherThreads(thread))
            {
                memory.Dispose();
                return -Errno.EINTR;
            }
            int oldTid = thread.Tid;
            process.Become(thread, memory, program, environment, path);
            thread.TraceExec(oldTid);
            return 0;
        }
        catch (LoadException failure)
        {
            memory?.Dispose();
            return -failure.Errno;
        }
    }

    private static long ReadStrings(GuestThread thread, ulong address, ref int budget, out List<string> strings)
    {
        strings = [];
        if (address == 0) return 0;
        for (;; address += 8)
        {
            if (!thread.Window.TryLoad64(address, out ulong pointer)) return -Errno.EFAULT;
            if (pointer == 0) return 0;
            string? text = thread.Window.ReadString(pointer, StringLimit, out int error);
            if (text == null) return error == -Errno.ENAMETOOLONG ? -Errno.E2BIG : error;
            budget -= text.Length + 9;
            if (budget < 0) return -Errno.E2BIG;
            strings.Add(text);
        }
    }
}
