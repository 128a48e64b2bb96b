using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Memory;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Loader;

/// <summary>A program ready to start.</summary>
/// <param name="EntryPoint">First pc.</param>
/// <param name="StackPointer">First sp.</param>
/// <param name="ExecutablePath">What /proc/self/exe names.</param>
/// <param name="Arguments">argv after <c>#!</c> lines were followed.</param>
/// <param name="AuxiliaryVector">The auxiliary vector's bytes.</param>
public sealed record LoadedProgram(
    ulong EntryPoint, ulong StackPointer, string ExecutablePath, IReadOnlyList<string> Arguments, byte[] AuxiliaryVector)
{
    /// <summary>Who runs it: set-user-id and set-group-id programs change that.</summary>
    public required Credentials Credentials { get; init; }
}

/// <summary>A program whose files are found and checked, but which is not mapped yet: execve can still fail without harm.</summary>
public sealed class PreparedProgram : IDisposable
{
    public required int Descriptor { get; init; }
    public required string Path { get; init; }
    public required ElfHeaders Headers { get; init; }
    public required IReadOnlyList<string> Arguments { get; init; }
    public int InterpreterDescriptor { get; init; } = -1;
    public string InterpreterPath { get; init; } = "";

    /// <summary>Owner of a set-user-id program, group of a set-group-id one; null for others.</summary>
    public uint? SetUid { get; private set; }
    public uint? SetGid { get; private set; }

    /// <summary>Looks at the program's mode as guests see it.</summary>
    internal void FindSetIds(Ownership owners)
    {
        const uint SetUserId = 0x800, SetGroupId = 0x400, GroupExecute = 8;
        if (owners.Get(Descriptor, out var record, out _) < 0) return;
        if ((record.Mode & SetUserId) != 0) SetUid = record.Uid;
        if ((record.Mode & (SetGroupId | GroupExecute)) == (SetGroupId | GroupExecute)) SetGid = record.Gid;
    }

    /// <summary>Who a process with these credentials becomes by executing it.</summary>
    public Credentials CredentialsFor(Credentials old, bool noNewPrivileges)
    {
        uint uid = noNewPrivileges ? old.EffectiveUid : SetUid ?? old.EffectiveUid, gid = noNewPrivileges ? old.EffectiveGid : SetGid ?? old.EffectiveGid;
        return old.Executing(uid, gid);
    }
    public ElfHeaders? InterpreterHeaders { get; init; }

    public void Dispose()
    {
        HostSyscall.Invoke(3 /* close */, Descriptor);
        if (InterpreterDescriptor >= 0) HostSyscall.Invoke(3, InterpreterDescriptor);
    }
}

/// <summary>From a path to a program in memory: scripts, ELF files, their interpreters, stack and auxiliary vector.</summary>
public static class ProgramLoader
{
    private const int MaximumScriptDepth = 5;

    /// <summary>Finds and checks all files that the program needs.</summary>
    /// <exception cref="LoadException">With errno and reason.</exception>
    public static PreparedProgram Prepare(FsContext fs, string path, IReadOnlyList<string> arguments, GuestProcess? caller = null)
    {
        for (int depth = 0; depth < MaximumScriptDepth; depth++)
        {
            int descriptor = fs.OpenExecutable(caller, Encoding.Latin1.GetBytes(path), out string resolved);
            if (descriptor == -Errno.EACCES && fs.IsDirectory(caller, Encoding.Latin1.GetBytes(path))) throw new LoadException(Errno.EACCES, "is a directory");
            if (descriptor < 0) throw LoadException.Of(descriptor);
            try
            {
                byte[] start = new byte[256];
                int count = ElfHeaders.ReadStart(descriptor, start);
                if (count == 0) throw new LoadException(Errno.ENOEXEC, "empty file");
                if (count < 2 || start[0] != '#' || start[1] != '!')
                {
                    var prepared = PrepareElf(fs, descriptor, resolved, arguments);
                    if (fs.Space.Owners is { } owners) prepared.FindSetIds(owners);
                    descriptor = -1;
                    return prepared;
                }
                (path, arguments) = FollowScript(start.AsSpan(0, count), path, arguments);
            }
            finally
            {
                if (descriptor >= 0) HostSyscall.Invoke(3, descriptor);
            }
        }
        throw new LoadException(Errno.ELOOP, "too many scripts that interpret scripts");
    }

    /// <summary><c>#!interpreter [one argument]</c>: the interpreter's path and the new argv.</summary>
    private static (string Path, IReadOnlyList<string> Arguments) FollowScript(ReadOnlySpan<byte> start, string script, IReadOnlyList<string> arguments)
    {
        int end = start.IndexOf((byte)'\n');
        if (end < 0 && start.Length == 256) end = 256;
        string line = Encoding.Latin1.GetString(start[2..(end < 0 ? start.Length : end)]).Trim(' ', '\t', '\r');
        if (line.Length == 0) throw new LoadException(Errno.ENOEXEC, "the #! line names no interpreter");
        int space = line.IndexOfAny([' ', '\t']);
        var list = new List<string> { space < 0 ? line : line[..space] };
        if (space >= 0) list.Add(line[space..].Trim(' ', '\t'));
        list.Add(script);
        list.AddRange(arguments.Skip(1));
        return (list[0], list);
    }

    private static PreparedProgram PrepareElf(FsContext fs, int descriptor, string resolved, IReadOnlyList<string> arguments)
    {
        var headers = ElfHeaders.Read(descriptor);
        if (headers.Interpreter == null)
            return new PreparedProgram { Descriptor = descriptor, Path = resolved, Headers = headers, Arguments = arguments };

        int interpreter = fs.OpenExecutable(Encoding.Latin1.GetBytes(headers.Interpreter), out string interpreterPath);
        if (interpreter < 0)
            throw new LoadException(-interpreter, $"its interpreter {headers.Interpreter}: {LoadException.Describe(-interpreter)}");
        try
        {
            var interpreterHeaders = ElfHeaders.Read(interpreter);
            return new PreparedProgram
            {
                Descriptor = descriptor, Path = resolved, Headers = headers, Arguments = arguments,
                InterpreterDescriptor = interpreter, InterpreterPath = interpreterPath, InterpreterHeaders = interpreterHeaders,
            };
        }
        catch (LoadException error)
        {
            HostSyscall.Invoke(3, interpreter);
            throw new LoadException(Errno.ELIBBAD, $"its interpreter {headers.Interpreter}: {error.Message}");
        }
    }

    /// <summary>Maps a prepared program into an empty address space and builds its stack.</summary>
    public static LoadedProgram Load(PreparedProgram program, AddressSpace memory, IReadOnlyList<string> environment, string name,
        Credentials credentials, ResourceLimits limits)
    {
        var main = ElfLoader.Load(memory, program.Descriptor, program.Path, program.Headers,
            memory.PieBase);
        memory.SetBrk(main.End);
        LoadedElf? interpreter = program.InterpreterHeaders == null
            ? null
            : ElfLoader.Load(memory, program.InterpreterDescriptor, program.InterpreterPath, program.InterpreterHeaders, 0);
        InitialStack.Map(memory, Math.Min(limits.Soft(ResourceLimits.Stack), 64UL << 20), program.Headers.ExecutableStack);
        Vdso.Map(memory);

        var auxiliary = new List<(ulong, ulong)>
        {
            (Aux.HardwareCapabilities, Aux.Capabilities),
            (Aux.PageSize, AddressSpace.PageSize),
            (Aux.ClockTicks, 100),
            (Aux.ProgramHeaders, main.Headers.ProgramHeaderAddress == 0 ? 0 : main.Headers.ProgramHeaderAddress + main.Bias),
            (Aux.ProgramHeaderSize, 56),
            (Aux.ProgramHeaderCount, (ulong)main.Headers.ProgramHeaderCount),
            (Aux.Base, interpreter?.Bias ?? 0),
            (Aux.Flags, 0),
            (Aux.Entry, main.Entry),
            (Aux.Uid, credentials.Uid),
            (Aux.EffectiveUid, credentials.EffectiveUid),
            (Aux.Gid, credentials.Gid),
            (Aux.EffectiveGid, credentials.EffectiveGid),
            (Aux.Secure, credentials.EffectiveUid != credentials.Uid || credentials.EffectiveGid != credentials.Gid ? 1UL : 0),
            (Aux.MinimumSignalStack, 1088),
            (Aux.VdsoHeader, Vdso.AddressIn(memory)),
        };
        ulong sp = InitialStack.Fill(memory, program.Arguments, environment, name, auxiliary, out byte[] auxiliaryBytes);
        return new LoadedProgram(interpreter?.Entry ?? main.Entry, sp, program.Path, program.Arguments, auxiliaryBytes) { Credentials = credentials };
    }
}
