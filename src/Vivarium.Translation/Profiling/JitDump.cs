using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Vivarium.Host;

namespace Vivarium.Translation.Profiling;

/// <summary>
/// <c>jit-PID.dump</c>: names and bytes of emitted code for <c>perf inject --jit</c> (the kernel's tools/perf/Documentation/jitdump-specification.txt).
/// With bytes and times, perf tells code apart that stood at the same address one after the other, and annotates it.
/// </summary>
/// <remarks>Thread-safe. perf finds the file by an executable mapping of it, which its recording sees.</remarks>
public sealed unsafe class JitDump : IDisposable
{
    private const int HeaderSize = 40, LoadSize = 56;
    private const uint Magic = 0x4A695444, Version = 1, MachineX86_64 = 62, CodeLoad = 0, CodeClose = 3;
    private const long Mmap = 9, Munmap = 11, GetTid = 186;
    private const long PageSize = 4096, ProtReadExecute = 5, MapPrivate = 2;

    private readonly Lock _lock = new();
    private readonly SafeFileHandle _file;
    private readonly long _mark;
    private byte[] _record = new byte[4096];
    private long _position;
    private ulong _index;

    /// <param name="directory">Where the file goes; made if it is not there.</param>
    /// <exception cref="IOException">It cannot be written.</exception>
    public JitDump(string directory)
    {
        try
        {
            Directory.CreateDirectory(directory);
            Path = System.IO.Path.Combine(System.IO.Path.GetFullPath(directory), $"jit-{Environment.ProcessId}.dump");
            _file = File.OpenHandle(Path, FileMode.Create, FileAccess.ReadWrite);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException(e.Message, e);
        }
        Span<byte> header = _record.AsSpan(0, HeaderSize);
        header.Clear();
        Put32(0, Magic);
        Put32(4, Version);
        Put32(8, HeaderSize);
        Put32(12, MachineX86_64);
        Put32(20, (uint)Environment.ProcessId);
        Put64(24, Now);
        Append(HeaderSize);
        _mark = HostSyscall.Invoke(Mmap, 0, PageSize, ProtReadExecute, MapPrivate, (long)_file.DangerousGetHandle(), 0);
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    // perf record -k mono takes the same clock.
    private static ulong Now => (ulong)(Stopwatch.GetTimestamp() * (1_000_000_000 / Stopwatch.Frequency));

    /// <summary>New code of [start, end).</summary>
    internal void Add(ulong start, ulong end, string name)
    {
        int nameLength = Encoding.UTF8.GetByteCount(name) + 1, codeLength = (int)(end - start), length = LoadSize + nameLength + codeLength;
        lock (_lock)
        {
            if (_file.IsClosed) return;
            if (_record.Length < length) _record = new byte[length * 2];
            Put32(0, CodeLoad);
            Put32(4, (uint)length);
            Put64(8, Now);
            Put32(16, (uint)Environment.ProcessId);
            Put32(20, (uint)HostSyscall.Invoke(GetTid));
            Put64(24, start);
            Put64(32, start);
            Put64(40, (ulong)codeLength);
            Put64(48, _index++);
            Encoding.UTF8.GetBytes(name, _record.AsSpan(LoadSize));
            _record[LoadSize + nameLength - 1] = 0;
            // SAFETY: the caller has just emitted these bytes into committed code memory.
            new ReadOnlySpan<byte>((void*)start, codeLength).CopyTo(_record.AsSpan(LoadSize + nameLength));
            Append(length);
        }
    }

    private void Append(int length)
    {
        try
        {
            RandomAccess.Write(_file, _record.AsSpan(0, length), _position);
            _position += length;
        }
        catch (IOException)
        {
            // A full disk ends the profile, not the program.
            _file.Dispose();
        }
    }

    private void Put32(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_record.AsSpan(at), value);

    private void Put64(int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(_record.AsSpan(at), value);

    public void Dispose()
    {
        lock (_lock)
        {
            if (_file.IsClosed) return;
            Put32(0, CodeClose);
            Put32(4, 16);
            Put64(8, Now);
            Append(16);
            _file.Dispose();
            if (_mark > 0) HostSyscall.Invoke(Munmap, _mark, PageSize);
        }
    }
}
