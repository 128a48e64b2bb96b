using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Vivarium.Bench;

/// <summary>What one run of a command cost.</summary>
/// <param name="WallSeconds">From spawn to exit.</param>
/// <param name="CpuSeconds">User and system time of the process and of its waited-for children.</param>
/// <param name="PeakKiB">Largest resident set of a single process, KiB.</param>
/// <param name="ExitCode">Exit status, or 128 + signal.</param>
/// <param name="Output">Standard output.</param>
internal sealed record Sample(double WallSeconds, double CpuSeconds, long PeakKiB, int ExitCode, string Output);

/// <summary>Runs a command as a whole process and reads the kernel's own account of it (wait4's rusage).</summary>
internal static unsafe partial class TimedProcess
{
    public static Sample Run(IReadOnlyList<string> command, string? workingDirectory, IReadOnlyDictionary<string, string>? environment, string scratch)
    {
        // Output goes to a file: a pipe would need a reader that competes for the cores.
        var stdout = Path.Combine(scratch, "stdout");
        File.WriteAllText(stdout, "");
        var env = new List<string>();
        foreach (System.Collections.DictionaryEntry e in Environment.GetEnvironmentVariables())
            if (environment is null || !environment.ContainsKey((string)e.Key)) env.Add($"{e.Key}={e.Value}");
        if (environment is not null) foreach (var (k, v) in environment) env.Add($"{k}={v}");

        var actions = stackalloc byte[256];
        posix_spawn_file_actions_init(actions);
        posix_spawn_file_actions_addopen(actions, 0, "/dev/null", 0, 0);
        posix_spawn_file_actions_addopen(actions, 1, stdout, 0x201, 0x180); // O_WRONLY|O_TRUNC
        posix_spawn_file_actions_addopen(actions, 2, Path.Combine(scratch, "stderr"), 0x241, 0x180);
        if (workingDirectory is not null) posix_spawn_file_actions_addchdir_np(actions, workingDirectory);
        var argv = Strings(command);
        var envp = Strings(env);
        var start = Stopwatch.GetTimestamp();
        var error = posix_spawnp(out var pid, command[0], actions, null, argv, envp);
        if (error != 0) throw new InvalidOperationException($"cannot run '{command[0]}': {Marshal.GetPInvokeErrorMessage(error)}");
        var usage = stackalloc long[18];
        int status;
        while (wait4(pid, &status, 0, usage) < 0) { }
        var wall = Stopwatch.GetElapsedTime(start).TotalSeconds;
        posix_spawn_file_actions_destroy(actions);
        Free(argv);
        Free(envp);
        var code = (status & 0x7f) == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f);
        var cpu = usage[0] + usage[1] / 1e6 + usage[2] + usage[3] / 1e6;
        return new Sample(wall, cpu, usage[4], code, File.ReadAllText(stdout));
    }

    public static string StandardError(string scratch) => File.ReadAllText(Path.Combine(scratch, "stderr"));

    private static byte** Strings(IReadOnlyList<string> values)
    {
        var p = (byte**)NativeMemory.AllocZeroed((nuint)(values.Count + 1), (nuint)sizeof(byte*));
        for (var i = 0; i < values.Count; i++) p[i] = (byte*)Marshal.StringToCoTaskMemUTF8(values[i]);
        return p;
    }

    private static void Free(byte** strings)
    {
        for (var p = strings; *p != null; p++) Marshal.FreeCoTaskMem((nint)(*p));
        NativeMemory.Free(strings);
    }

    [LibraryImport("libc")] private static partial int posix_spawn_file_actions_init(void* actions);
    [LibraryImport("libc")] private static partial int posix_spawn_file_actions_destroy(void* actions);
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)] private static partial int posix_spawn_file_actions_addopen(void* actions, int fd, string path, int flags, uint mode);
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)] private static partial int posix_spawn_file_actions_addchdir_np(void* actions, string path);
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)] private static partial int posix_spawnp(out int pid, string file, void* actions, void* attributes, byte** argv, byte** envp);
    [LibraryImport("libc")] private static partial int wait4(int pid, int* status, int options, void* usage);
}
