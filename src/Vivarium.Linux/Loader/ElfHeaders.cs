using System.Buffers.Binary;
using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Memory;

namespace Vivarium.Linux.Loader;

/// <summary>One PT_LOAD segment, checked.</summary>
public readonly record struct ElfSegment(ulong Address, ulong MemorySize, ulong Offset, ulong FileSize, Protection Protection)
{
    public ulong PageStart => Address & ~(AddressSpace.PageSize - 1);
    public ulong PageEnd => AddressSpace.RoundUp(Address + MemorySize);
}

/// <summary>What the loader needs of an ELF file's headers, read through a host descriptor and checked for sense.</summary>
/// <remarks>gABI chapters "ELF Header" and "Program Header"; RISC-V ELF psABI for the machine's flags.</remarks>
public sealed class ElfHeaders
{
    private const int SysPread64 = 17;
    private const int HeaderSize = 64, ProgramHeaderSize = 56, MaximumProgramHeaders = 128;

    /// <summary>ET_DYN: may be loaded anywhere.</summary>
    public bool IsPositionIndependent { get; private init; }

    public ulong Entry { get; private init; }

    /// <summary>e_phoff's bytes as they will lie in memory (AT_PHDR), before relocation; 0 where no segment holds them.</summary>
    public ulong ProgramHeaderAddress { get; private init; }

    public int ProgramHeaderCount { get; private init; }

    /// <summary>PT_LOAD segments in ascending order, without empty ones.</summary>
    public required IReadOnlyList<ElfSegment> Segments { get; init; }

    /// <summary>PT_INTERP, null for static programs.</summary>
    public string? Interpreter { get; private init; }

    /// <summary>PT_GNU_STACK asks for an executable stack.</summary>
    public bool ExecutableStack { get; private init; }

    /// <summary>Lowest and highest page of the image, before relocation.</summary>
    public ulong Low => Segments[0].PageStart;
    public ulong High => Segments.Max(segment => segment.PageEnd);

    /// <summary>Reads up to 256 bytes of the file's beginning; the count.</summary>
    public static int ReadStart(int descriptor, Span<byte> start)
    {
        int size = Math.Min(start.Length, 256);
        long count = HostSyscall.Invoke(SysPread64, descriptor, HostBuffer.Current.Address, size, 0);
        if (count < 0) throw LoadException.Of((int)count, "cannot be read");
        HostBuffer.Current.Bytes[..(int)count].CopyTo(start);
        return (int)count;
    }

    /// <summary>Reads and checks the headers.</summary>
    /// <exception cref="LoadException">ENOEXEC and a reason.</exception>
    public static ElfHeaders Read(int descriptor)
    {
        var fail = (string reason) => new LoadException(Errno.ENOEXEC, reason);
        byte[] header = new byte[HeaderSize];
        if (!TryRead(descriptor, header, 0))
        {
            if (ReadStart(descriptor, header) >= 4 && header.AsSpan(0, 4).SequenceEqual("\u007fELF"u8)) throw fail("truncated ELF file: the header is cut off");
            throw fail("not an ELF file");
        }
        if (!header.AsSpan(0, 4).SequenceEqual("\u007fELF"u8)) throw fail("not an ELF file");
        if (header[5] == 2) throw fail("big-endian ELF file");
        int machine = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(18));
        if (machine != 243) throw fail($"ELF for {MachineName(machine)}, not for riscv64");
        if (header[4] != 2) throw fail("ELF for riscv32, not for riscv64");
        int type = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(16));
        if (type is not (2 or 3)) throw fail(type == 1 ? "an object file (ET_REL), not a program" : type == 4 ? "a core file, not a program" : $"ELF type {type} is not a program");
        if (BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(54)) != ProgramHeaderSize) throw fail("bad ELF header: wrong size of program headers");
        int count = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(56));
        if (count is 0 or > MaximumProgramHeaders) throw fail(count == 0 ? "no program headers" : $"bad ELF header: {count} program headers");
        ulong tableOffset = BinaryPrimitives.ReadUInt64LittleEndian(header.AsSpan(32));
        byte[] table = new byte[count * ProgramHeaderSize];
        if (tableOffset > long.MaxValue - (ulong)table.Length || !TryRead(descriptor, table, (long)tableOffset)) throw fail("truncated ELF file: program headers are cut off");
        int error = MappedFile.Stat(descriptor, out var identity, out _);
        if (error < 0) throw LoadException.Of(error);
        return Parse(descriptor, header, table, tableOffset, type == 3, identity.Size);
    }

    private static ElfHeaders Parse(int descriptor, byte[] header, byte[] table, ulong tableOffset, bool positionIndependent, ulong fileSize)
    {
        var fail = (string reason) => new LoadException(Errno.ENOEXEC, reason);
        var segments = new List<ElfSegment>();
        string? interpreter = null;
        ulong tableAddress = 0;
        bool executableStack = false;
        for (int at = 0; at < table.Length; at += ProgramHeaderSize)
        {
            var row = table.AsSpan(at, ProgramHeaderSize);
            uint type = BinaryPrimitives.ReadUInt32LittleEndian(row);
            uint flags = BinaryPrimitives.ReadUInt32LittleEndian(row[4..]);
            ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(row[8..]);
            ulong address = BinaryPrimitives.ReadUInt64LittleEndian(row[16..]);
            ulong fileBytes = BinaryPrimitives.ReadUInt64LittleEndian(row[32..]);
            ulong memoryBytes = BinaryPrimitives.ReadUInt64LittleEndian(row[40..]);
            switch (type)
            {
                case 1: // PT_LOAD
                    if (memoryBytes == 0) continue;
                    if (fileBytes > memoryBytes) throw fail("bad ELF segment: larger in the file than in memory");
                    if (address > AddressSpace.LargestWindow || memoryBytes > AddressSpace.LargestWindow - address) throw fail($"bad ELF segment: address 0x{address:x} is outside the address space");
                    if (offset > fileSize || fileBytes > fileSize - offset) throw fail("truncated ELF file: a segment reaches beyond the end of the file");
                    if (fileBytes > 0 && (offset - address) % AddressSpace.PageSize != 0) throw fail("bad ELF segment: offset and address disagree modulo the page size");
                    var protection = ((flags & 4) != 0 ? Protection.Read : 0) | ((flags & 2) != 0 ? Protection.Write : 0) | ((flags & 1) != 0 ? Protection.Execute : 0);
                    var segment = new ElfSegment(address, memoryBytes, offset, fileBytes, protection);
                    if (segments.Count > 0 && segment.Address < segments[^1].Address + segments[^1].MemorySize) throw fail("bad ELF segments: they overlap or are out of order");
                    segments.Add(segment);
                    if (tableOffset >= offset && tableOffset - offset + (ulong)table.Length <= fileBytes) tableAddress = address + (tableOffset - offset);
                    break;
                case 3: // PT_INTERP
                    if (interpreter != null) break;
                    if (fileBytes is < 2 or > 4096) throw fail("bad ELF header: the interpreter's name has a senseless length");
                    byte[] name = new byte[fileBytes];
                    if (offset > long.MaxValue - fileBytes || !TryRead(descriptor, name, (long)offset)) throw fail("truncated ELF file: the interpreter's name is cut off");
                    if (name[^1] != 0) throw fail("bad ELF header: the interpreter's name has no end");
                    interpreter = Encoding.Latin1.GetString(name, 0, Array.IndexOf(name, (byte)0));
                    break;
                case 0x6474e551: // PT_GNU_STACK
                    executableStack = (flags & 1) != 0;
                    break;
            }
        }
        if (segments.Count == 0) throw fail("no segments to load");
        return new ElfHeaders
        {
            IsPositionIndependent = positionIndependent,
            Entry = BinaryPrimitives.ReadUInt64LittleEndian(header.AsSpan(24)),
            ProgramHeaderAddress = tableAddress,
            ProgramHeaderCount = table.Length / ProgramHeaderSize,
            Segments = segments,
            Interpreter = interpreter,
            ExecutableStack = executableStack,
        };
    }

    private static bool TryRead(int descriptor, Span<byte> bytes, long offset)
    {
        if (offset < 0 || bytes.Length > HostBuffer.Size) return false;
        long count = HostSyscall.Invoke(SysPread64, descriptor, HostBuffer.Current.Address, bytes.Length, offset);
        if (count < 0 && count != -Errno.EINVAL) throw LoadException.Of((int)count, "cannot be read");
        if (count != bytes.Length) return false;
        HostBuffer.Current.Bytes[..bytes.Length].CopyTo(bytes);
        return true;
    }

    private static string MachineName(int machine) => machine switch
    {
        3 => "i386",
        8 => "MIPS",
        20 => "PowerPC",
        21 => "ppc64",
        22 => "s390",
        40 => "arm",
        62 => "x86-64",
        183 => "aarch64",
        247 => "BPF",
        258 => "LoongArch",
        _ => $"machine {machine}",
    };
}
