using System.Buffers.Binary;
using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Memory;
using Vivarium.Linux.Syscalls;

namespace Vivarium.Linux.Loader;

/// <summary>
/// The vDSO: an ELF library of one page that the kernel gives every process (AT_SYSINFO_EHDR), with functions that read clocks without a
/// system call, and the code that signal handlers return to. On riscv64 the latter is the kernel's (there is no SA_RESTORER), and unwinders
/// recognise its two instructions, <c>li a7, 139; ecall</c>, as a signal frame.
/// </summary>
/// <remarks>Clocks are read by CSRs of our own (<see cref="Vivarium.RiscV.Execution.ClockRegisters"/>): the very clocks of the host's kernel,
/// so they agree with system calls, timers and file times, and no page of data must be kept up to date.</remarks>
public static class Vdso
{
    /// <summary>The soname.</summary>
    public const string Name = "linux-vdso.so.1";

    /// <summary>The version of all symbols.</summary>
    public const string Version = "LINUX_4.15";

    private const int CodeOffset = 0x400;

    private readonly record struct Function(string Name, int Offset, int Size);

    private static readonly Function[] s_functions =
    [
        new("__vdso_clock_gettime", 0x0, 0x9c),
        new("__vdso_gettimeofday", 0x9c, 0x5c),
        new("__vdso_clock_getres", 0xf8, 0x50),
        new("__vdso_getcpu", 0x148, 0xc),
        new("__vdso_flush_icache", 0x154, 0xc),
        new("__vdso_rt_sigreturn", 0x160, 0x8),
        new("__vdso_riscv_hwprobe", 0x170, 0x6c),
    ];

    private const int SignalReturn = CodeOffset + 0x160;

    // Offset in the code, and what it is; the source is in docs/process-mode.md's terms: ts[0] = ns / 10^9, ts[1] = ns % 10^9.
    private static ReadOnlySpan<uint> Code =>
    [
        // 0x000 clock_gettime
        0x00100293, //   0: li t0,1
        0x02550e63, //   4: beq a0,t0,40
        0x02050863, //   8: beqz a0,38
        0x00700293, //   c: li t0,7
        0x02550c63, //  10: beq a0,t0,48
        0x00600293, //  14: li t0,6
        0x02550c63, //  18: beq a0,t0,50
        0x00500293, //  1c: li t0,5
        0x02550c63, //  20: beq a0,t0,58
        0x00400293, //  24: li t0,4
        0x02550c63, //  28: beq a0,t0,60
        0x07100893, //  2c: li a7,113
        0x00000073, //  30: ecall
        0x00008067, //  34: ret
        0xcc002373, //  38: csrr t1,0xcc0
        0x0280006f, //  3c: j 64
        0xcc102373, //  40: csrr t1,0xcc1
        0x0200006f, //  44: j 64
        0xcc702373, //  48: csrr t1,0xcc7
        0x0180006f, //  4c: j 64
        0xcc602373, //  50: csrr t1,0xcc6
        0x0100006f, //  54: j 64
        0xcc502373, //  58: csrr t1,0xcc5
        0x0080006f, //  5c: j 64
        0xcc402373, //  60: csrr t1,0xcc4
        0x00000e17, //  64: auipc t3,0x0
        0x104e0e13, //  68: add t3,t3,260
        0x000e3383, //  6c: ld t2,0(t3)
        0x00935e13, //  70: srl t3,t1,0x9
        0x027e3e33, //  74: mulhu t3,t3,t2
        0x00be5e13, //  78: srl t3,t3,0xb
        0x3b9adeb7, //  7c: lui t4,0x3b9ad
        0xa00e8e9b, //  80: addw t4,t4,-1536
        0x03de0eb3, //  84: mul t4,t3,t4
        0x41d30333, //  88: sub t1,t1,t4
        0x01c5b023, //  8c: sd t3,0(a1)
        0x0065b423, //  90: sd t1,8(a1)
        0x00000513, //  94: li a0,0
        0x00008067, //  98: ret

        // 0x09c gettimeofday
        0x04050463, //  9c: beqz a0,e4
        0xcc002373, //  a0: csrr t1,0xcc0
        0x00000e17, //  a4: auipc t3,0x0
        0x0c4e0e13, //  a8: add t3,t3,196
        0x000e3383, //  ac: ld t2,0(t3)
        0x00935e13, //  b0: srl t3,t1,0x9
        0x027e3e33, //  b4: mulhu t3,t3,t2
        0x00be5e13, //  b8: srl t3,t3,0xb
        0x3b9adeb7, //  bc: lui t4,0x3b9ad
        0xa00e8e9b, //  c0: addw t4,t4,-1536
        0x03de0eb3, //  c4: mul t4,t3,t4
        0x41d30333, //  c8: sub t1,t1,t4
        0x10625eb7, //  cc: lui t4,0x10625
        0xdd3e8e9b, //  d0: addw t4,t4,-557
        0x03d30333, //  d4: mul t1,t1,t4
        0x02635313, //  d8: srl t1,t1,0x26
        0x01c53023, //  dc: sd t3,0(a0)
        0x00653423, //  e0: sd t1,8(a0)
        0x00058663, //  e4: beqz a1,f0
        0x0005a023, //  e8: sw zero,0(a1)
        0x0005a223, //  ec: sw zero,4(a1)
        0x00000513, //  f0: li a0,0
        0x00008067, //  f4: ret

        // 0x0f8 clock_getres
        0x00700293, //  f8: li t0,7
        0x04a2e063, //  fc: bltu t0,a0,13c
        0x00100313, // 100: li t1,1
        0x00a31333, // 104: sll t1,t1,a0
        0x09337393, // 108: and t2,t1,147
        0x00039c63, // 10c: bnez t2,124
        0x06037393, // 110: and t2,t1,96
        0x02038463, // 114: beqz t2,13c
        0x003d12b7, // 118: lui t0,0x3d1
        0x9002829b, // 11c: addw t0,t0,-1792
        0x0080006f, // 120: j 128
        0x00100293, // 124: li t0,1
        0x00058663, // 128: beqz a1,134
        0x0005b023, // 12c: sd zero,0(a1)
        0x0055b423, // 130: sd t0,8(a1)
        0x00000513, // 134: li a0,0
        0x00008067, // 138: ret
        0x07200893, // 13c: li a7,114
        0x00000073, // 140: ecall
        0x00008067, // 144: ret

        // 0x148 getcpu
        0x0a800893, // 148: li a7,168
        0x00000073, // 14c: ecall
        0x00008067, // 150: ret

        // 0x154 flush_icache
        0x10300893, // 154: li a7,259
        0x00000073, // 158: ecall
        0x00008067, // 15c: ret

        // 0x160 rt_sigreturn
        0x08b00893, // 160: li a7,139
        0x00000073, // 164: ecall

        // 0x168 the multiplier for ns / 10^9 = mulhu(ns >> 9, multiplier) >> 11
        0xa09b5a53, 0x0044b82f,

        // 0x170 riscv_hwprobe: for all processors from the table behind the code (number of keys; values), else the system call
        0x00d662b3, // 170: or t0,a2,a3
        0x00e2e2b3, // 174: or t0,t0,a4
        0x04029c63, // 178: bnez t0,1d0
        0x00000317, // 17c: auipc t1,0x0
        0x06430313, // 180: add t1,t1,100
        0x00032383, // 184: lw t2,0(t1)
        0x04058063, // 188: beqz a1,1c8
        0x00052e03, // 18c: lw t3,0(a0)
        0x00452e83, // 190: lw t4,4(a0)
        0x000e9e63, // 194: bnez t4,1b0
        0x007e7c63, // 198: bgeu t3,t2,1b0
        0x003e1e13, // 19c: sll t3,t3,0x3
        0x006e0e33, // 1a0: add t3,t3,t1
        0x008e3e03, // 1a4: ld t3,8(t3)
        0x01c53423, // 1a8: sd t3,8(a0)
        0x0100006f, // 1ac: j 1bc
        0xfff00e13, // 1b0: li t3,-1
        0x01c53023, // 1b4: sd t3,0(a0)
        0x00053423, // 1b8: sd zero,8(a0)
        0x01050513, // 1bc: add a0,a0,16
        0xfff58593, // 1c0: add a1,a1,-1
        0xfc5ff06f, // 1c4: j 188
        0x00000513, // 1c8: li a0,0
        0x00008067, // 1cc: ret
        0x10200893, // 1d0: li a7,258
        0x00000073, // 1d4: ecall
        0x00008067, // 1d8: ret
        0x00000000,
    ];

    private const int ProbeTable = CodeOffset + 0x1e0;

    private static readonly byte[] s_image = Build();

    /// <summary>Where it is: in the area above the stack, the same in every address space of a size.</summary>
    public static ulong AddressIn(AddressSpace memory) => memory.StackTop + 0x4000;

    /// <summary>Where signal handlers return to.</summary>
    public static ulong SignalReturnIn(AddressSpace memory) => AddressIn(memory) + SignalReturn;

    /// <summary>The file.</summary>
    public static ReadOnlySpan<byte> Image => s_image;

    /// <summary>Maps it into a new address space.</summary>
    public static void Map(AddressSpace memory)
    {
        const MapFlags Flags = MapFlags.Private | MapFlags.Anonymous | MapFlags.Fixed;
        ulong address = AddressIn(memory);
        long result = memory.Map(address, AddressSpace.PageSize, Protection.Read | Protection.Write, Flags, null, 0, "[vdso]");
        if (result < 0 || !memory.Window.TryWriteBytes(address, s_image)
            || !memory.Window.TryStore64(address + ProbeTable + 8 + 8 * ProcessSyscalls.HighestAddressKey, ProcessSyscalls.Probe(ProcessSyscalls.HighestAddressKey, memory.Size)!.Value)) throw LoadException.Of(-Errno.ENOMEM, "the vDSO");
        memory.Protect(address, AddressSpace.PageSize, Protection.Read | Protection.Execute);
    }

    // ---- the ELF file: headers, tables of the dynamic linker, code ----

    private static byte[] Build()
    {
        const int HeaderSize = 64, SegmentSize = 56, SymbolSize = 24;
        var image = new byte[ProbeTable + 8 + 8 * ProcessSyscalls.ProbeKeys];
        int at = HeaderSize + 2 * SegmentSize;

        var strings = new List<byte> { 0 };
        int String(string text)
        {
            int offset = strings.Count;
            strings.AddRange(Encoding.ASCII.GetBytes(text));
            strings.Add(0);
            return offset;
        }
        int Place(int size)
        {
            int offset = (at + 7) & ~7;
            at = offset + size;
            if (at > CodeOffset) throw new InvalidOperationException("the vDSO's tables reach into its code");
            return offset;
        }
        void Put16(int offset, int value) => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(offset), (ushort)value);
        void Put32(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(offset), value);
        void Put64(int offset, long value) => BinaryPrimitives.WriteInt64LittleEndian(image.AsSpan(offset), value);

        int soname = String(Name), version = String(Version), count = s_functions.Length + 1;
        int symbols = Place(count * SymbolSize);
        int versions = Place(count * 2);
        // One bucket: the chain is the table.
        int hash = Place(4 * (3 + count));
        Put32(hash, 1);
        Put32(hash + 4, (uint)count);
        Put32(hash + 8, 1);
        for (int i = 1; i < count; i++)
        {
            var function = s_functions[i - 1];
            int symbol = symbols + i * SymbolSize;
            Put32(symbol, (uint)String(function.Name));
            image[symbol + 4] = 0x12; // STB_GLOBAL, STT_FUNC
            Put16(symbol + 6, 1);     // any section that is there
            Put64(symbol + 8, CodeOffset + function.Offset);
            Put64(symbol + 16, function.Size);
            Put16(versions + i * 2, 2);
            Put32(hash + 12 + i * 4, i + 1 < count ? (uint)i + 1 : 0);
        }
        // Verdef 1 names the file, 2 the version of the symbols; each with one Verdaux behind it.
        int definitions = Place(2 * 28);
        for (int i = 0; i < 2; i++)
        {
            int definition = definitions + i * 28;
            Put16(definition, 1);
            Put16(definition + 2, i == 0 ? 1 : 0); // VER_FLG_BASE
            Put16(definition + 4, i + 1);
            Put16(definition + 6, 1);
            Put32(definition + 8, HashOf(i == 0 ? Name : Version));
            Put32(definition + 12, 20);
            Put32(definition + 16, i == 0 ? 28u : 0);
            Put32(definition + 20, (uint)(i == 0 ? soname : version));
        }
        int text = Place(strings.Count);
        strings.CopyTo(image, text);
        (long Tag, long Value)[] entries =
        [
            (14, soname), (4, hash), (5, text), (6, symbols), (10, strings.Count), (11, SymbolSize),
            (0x6ffffff0, versions), (0x6ffffffc, definitions), (0x6ffffffd, 2), (0, 0),
        ];
        int dynamic = Place(entries.Length * 16);
        for (int i = 0; i < entries.Length; i++)
        {
            Put64(dynamic + i * 16, entries[i].Tag);
            Put64(dynamic + i * 16 + 8, entries[i].Value);
        }
        for (int i = 0; i < Code.Length; i++) Put32(CodeOffset + i * 4, Code[i]);

        Put32(ProbeTable, ProcessSyscalls.ProbeKeys);
        for (int key = 0; key < ProcessSyscalls.ProbeKeys; key++) Put64(ProbeTable + 8 + 8 * key, (long)ProcessSyscalls.Probe((ulong)key, 0)!.Value);

        ReadOnlySpan<byte> identity = [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        identity.CopyTo(image);
        Put16(16, 3);   // ET_DYN
        Put16(18, 243); // EM_RISCV
        Put32(20, 1);
        Put64(32, HeaderSize);
        Put32(48, 4);   // double-float ABI; no compressed instructions
        Put16(52, HeaderSize);
        Put16(54, SegmentSize);
        Put16(56, 2);
        Put16(58, 64);
        Segment(HeaderSize, 1, 5, 0, image.Length, 4096);
        Segment(HeaderSize + SegmentSize, 2, 4, dynamic, entries.Length * 16, 8);
        return image;

        void Segment(int offset, uint type, uint flags, int start, int size, int alignment)
        {
            Put32(offset, type);
            Put32(offset + 4, flags);
            Put64(offset + 8, start);
            Put64(offset + 16, start);
            Put64(offset + 24, start);
            Put64(offset + 32, size);
            Put64(offset + 40, size);
            Put64(offset + 48, alignment);
        }
    }

    /// <summary>The hash of System V's ABI.</summary>
    private static uint HashOf(string name)
    {
        uint hash = 0;
        foreach (char c in name)
        {
            hash = (hash << 4) + c;
            uint high = hash & 0xf0000000;
            hash = (hash ^ high >> 24) & ~high;
        }
        return hash;
    }
}
