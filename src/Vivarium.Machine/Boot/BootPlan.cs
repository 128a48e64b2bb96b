using System.Buffers.Binary;
using Vivarium.Machine.Buses;

namespace Vivarium.Machine.Boot;

/// <summary>What is put into RAM before a machine starts, and where its first hart starts.</summary>
/// <param name="Entry">The first instruction.</param>
/// <param name="MachineMode">Whether it is firmware, in M-mode; else a kernel in S-mode.</param>
/// <param name="DeviceTree">Where the blob lies.</param>
public sealed record BootPlan(ulong Entry, bool MachineMode, ulong DeviceTree);

/// <summary>
/// Places kernel, firmware, initrd and device tree in RAM:
/// <code>
/// RAM + 0        firmware (or nothing)
/// RAM + 2 MiB    kernel (its text_offset)
/// ...            initrd: at a quarter of RAM (at most 128 MiB up), above the kernel in any case
/// end of RAM     device tree (and reset vector), in the last 2 MiB below the end of RAM or 3 GiB
/// </code>
/// </summary>
public sealed class BootLoader(PhysicalMemory memory)
{
    private const ulong Megabyte = 1 << 20;
    private const int ResetVectorSize = 80;
    private const ulong KernelOffset = 2 * Megabyte;
    private readonly List<(string Name, ulong Start, ulong End)> _used = [];

    /// <summary>[start, end) of the initrd, after <see cref="PlaceInitrd"/>.</summary>
    public (ulong Start, ulong End) Initrd { get; private set; }

    /// <summary>Where the kernel starts, after <see cref="PlaceKernel"/>; 0 without one.</summary>
    public ulong KernelEntry { get; private set; }

    /// <summary>Where firmware starts, after <see cref="PlaceFirmware"/>.</summary>
    public ulong FirmwareEntry { get; private set; }

    public void PlaceFirmware(BootImage image, string name) => FirmwareEntry = Place(image, name, memory.RamBase);

    public void PlaceKernel(BootImage image, string name)
    {
        ulong at = memory.RamBase + (image.Kind == BootImageKind.LinuxImage && image.TextOffset != 0 ? image.TextOffset : KernelOffset);
        KernelEntry = Place(image, name, at);
    }

    public void PlaceInitrd(ReadOnlySpan<byte> bytes, string name)
    {
        ulong above = memory.RamBase + Math.Min(memory.RamSize / 4, 128 * Megabyte);
        foreach (var (_, _, end) in _used)
            above = Math.Max(above, end);
        above = (above + 2 * Megabyte - 1) & ~(2 * Megabyte - 1);
        Put(name, above, bytes, (ulong)bytes.Length);
        Initrd = (above, above + (ulong)bytes.Length);
    }

    /// <summary>Puts the device tree in its place, and behind it what firmware wants to know and a reset vector that hands that over.</summary>
    public BootPlan Finish(ReadOnlySpan<byte> deviceTree, bool hasFirmware)
    {
        ulong top = Math.Min(memory.RamBase + memory.RamSize, memory.RamBase + 3072 * Megabyte);
        ulong at = (top - Math.Min((ulong)deviceTree.Length + ResetVectorSize, memory.RamSize)) & ~(2 * Megabyte - 1);
        Put("the device tree", at, deviceTree, (ulong)deviceTree.Length);
        if (!hasFirmware)
            return new BootPlan(KernelEntry, false, at);
        ulong vector = (at + (ulong)deviceTree.Length + 63) & ~63ul;
        Put("the reset vector", vector, ResetVector(vector), ResetVectorSize);
        return new BootPlan(vector, true, at);
    }

    /// <summary>Enters the firmware with a2 pointing to OpenSBI's <c>struct fw_dynamic_info</c> (version 2: magic, version, next address, next
    /// mode, options, boot hart); other firmware does not look at it.</summary>
    private byte[] ResetVector(ulong at)
    {
        const ulong supervisor = 1;
        byte[] vector = new byte[ResetVectorSize];
        ReadOnlySpan<uint> code =
        [
            0x00000297, // auipc t0, 0
            0x0102b603, // ld a2, 16(t0)
            0x0182b283, // ld t0, 24(t0)
            0x00028067, // jr t0
        ];
        for (int i = 0; i < code.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(vector.AsSpan(i * 4), code[i]);
        ReadOnlySpan<ulong> words = [at + 32, FirmwareEntry, 0x4942534f, 2, KernelEntry, supervisor, 0, 0];
        for (int i = 0; i < words.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(vector.AsSpan(16 + i * 8), words[i]);
        return vector;
    }

    private ulong Place(BootImage image, string name, ulong at)
    {
        if (image.Kind != BootImageKind.Elf)
        {
            Put($"'{name}'", at, image.Bytes, image.MemorySize);
            return at;
        }

        var elf = BareElf.Parse(image.Bytes, name);
        foreach (var segment in elf.Segments)
            Put($"'{name}'", segment.Address, image.Bytes.AsSpan((int)segment.FileOffset, (int)segment.FileSize), segment.MemorySize);
        return elf.Entry;
    }

    private void Put(string name, ulong at, ReadOnlySpan<byte> bytes, ulong size)
    {
        if (size == 0)
            return;
        if (at < memory.RamBase || at - memory.RamBase > memory.RamSize || size > memory.RamSize - (at - memory.RamBase))
            throw new BootException($"{name} does not fit into {memory.RamSize / Megabyte} MiB of memory (it needs {Math.Max(1, size / Megabyte)} MiB at {at:x}); --memory gives more");
        foreach (var (other, start, end) in _used)
        {
            if (at < end && start < at + size)
                throw new BootException($"{name} and {other} overlap at {Math.Max(at, start):x}; --memory gives more room");
        }

        memory.TryWriteBytes(at, bytes);
        _used.Add((name, at, at + size));
    }
}
