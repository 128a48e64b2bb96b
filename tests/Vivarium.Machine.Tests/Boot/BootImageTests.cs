using System.Buffers.Binary;
using System.IO.Compression;
using Vivarium.Machine.Boot;
using Vivarium.Machine.Buses;

namespace Vivarium.Machine.Tests.Boot;

public class BootImageTests
{
    private const ulong Ram = 0x8000_0000;

    private static byte[] Kernel(int size = 4096, ulong textOffset = 0x20_0000, ulong imageSize = 0x3000)
    {
        byte[] bytes = new byte[size];
        "MZ"u8.CopyTo(bytes);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), textOffset);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(16), imageSize);
        "RSC\u0005"u8.CopyTo(bytes.AsSpan(0x38));
        bytes[^1] = 0x77;
        return bytes;
    }

    private static byte[] Gzip(byte[] bytes)
    {
        var output = new MemoryStream();
        using (var gzip = new GZipStream(output, CompressionLevel.Fastest))
            gzip.Write(bytes);
        return output.ToArray();
    }

    private static byte[] Zboot(byte[] payload)
    {
        byte[] bytes = new byte[256 + payload.Length];
        "MZ\0\0zimg"u8.CopyTo(bytes);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(8), 256);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(12), payload.Length);
        payload.CopyTo(bytes, 256);
        return bytes;
    }

    [Fact]
    public void EveryWrappingIsTakenOff()
    {
        byte[] kernel = Kernel();
        byte[] zstd = new ZstdSharp.Compressor().Wrap(kernel).ToArray();
        foreach (byte[] file in new[] { kernel, Gzip(kernel), zstd, Zboot(Gzip(kernel)), Zboot(zstd), Gzip(Zboot(zstd)) })
        {
            var image = BootImage.Parse(file, "vmlinuz");
            Assert.Equal((BootImageKind.LinuxImage, 0x20_0000ul, 0x3000ul), (image.Kind, image.TextOffset, image.MemorySize));
            Assert.Equal(kernel, image.Bytes);
        }
    }

    [Fact]
    public void WhatCannotBootSaysWhy()
    {
        Assert.Contains("'x' is damaged: gzip", Assert.Throws<BootException>(() => BootImage.Parse([0x1f, 0x8b, 8, 0, 1, 2, 3], "x")).Message);
        Assert.Contains("zstd", Assert.Throws<BootException>(() => BootImage.Parse([0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3], "x")).Message);
        Assert.Contains("EFI", Assert.Throws<BootException>(() => BootImage.Parse([.. "MZ"u8, .. new byte[100]], "x")).Message);
        Assert.Contains("does not exist", Assert.Throws<BootException>(() => BootImage.Load("/nonexistent/vmlinuz")).Message);
        byte[] zboot = Zboot([1]);
        BinaryPrimitives.WriteUInt32LittleEndian(zboot.AsSpan(12), uint.MaxValue);
        Assert.Contains("beyond its end", Assert.Throws<BootException>(() => BootImage.Parse(zboot, "x")).Message);
    }

    [Fact]
    public void ThingsArePlacedWithoutOverlap()
    {
        using var memory = new PhysicalMemory(Ram, 64 << 20);
        var loader = new BootLoader(memory);
        loader.PlaceFirmware(BootImage.Parse([1, 2, 3, 4], "fw"), "fw");
        loader.PlaceKernel(BootImage.Parse(Kernel(), "vmlinuz"), "vmlinuz");
        loader.PlaceInitrd([5, 6, 7], "initrd");
        var plan = loader.Finish(new byte[5000], hasFirmware: true);
        Assert.Equal((Ram, Ram + 0x20_0000), (loader.FirmwareEntry, loader.KernelEntry));
        Assert.Equal((Ram + (16 << 20), Ram + (16 << 20) + 3), loader.Initrd);
        Assert.Equal((Ram + (62 << 20), true), (plan.DeviceTree, plan.MachineMode));
        Assert.InRange(plan.Entry, plan.DeviceTree + 5000, plan.DeviceTree + 5100);
        byte[] there = new byte[3];
        Assert.True(memory.TryReadBytes(loader.Initrd.Start, there));
        Assert.Equal([5, 6, 7], there);
    }

    [Fact]
    public void WhatDoesNotFitIsSaid()
    {
        using var memory = new PhysicalMemory(Ram, 4 << 20);
        Assert.Contains("does not fit into 4 MiB", Assert.Throws<BootException>(() => new BootLoader(memory).PlaceKernel(BootImage.Parse(Kernel(imageSize: 32 << 20), "k"), "k")).Message);
        var loader = new BootLoader(memory);
        loader.PlaceFirmware(BootImage.Parse(new byte[3 << 20], "fw"), "fw");
        Assert.Contains("overlap", Assert.Throws<BootException>(() => loader.PlaceKernel(BootImage.Parse(Kernel(), "k"), "k")).Message);
    }

    /// <summary>A kernel's ELF file is loaded by physical addresses and entered where its virtual entry lies.</summary>
    [Fact]
    public void ElfGoesToItsPhysicalAddresses()
    {
        byte[] elf = new byte[0x200];
        "\u007fELF"u8.CopyTo(elf);
        (elf[4], elf[5], elf[18]) = (2, 1, 243);
        BinaryPrimitives.WriteUInt64LittleEndian(elf.AsSpan(24), 0xffff_ffff_8000_0010);
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 1;
        ReadOnlySpan<ulong> header = [0x100, 0xffff_ffff_8000_0000, Ram + 0x1000, 0x80, 0x100];
        for (int i = 0; i < header.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(elf.AsSpan(64 + 8 + i * 8), header[i]);
        elf[0x110] = 0x13;
        using var memory = new PhysicalMemory(Ram, 4 << 20);
        var loader = new BootLoader(memory);
        loader.PlaceKernel(BootImage.Parse(elf, "vmlinux"), "vmlinux");
        Assert.Equal(Ram + 0x1010, loader.KernelEntry);
        Assert.True(memory.TryRead(Ram + 0x1010, 1, out ulong value));
        Assert.Equal(0x13ul, value);
        elf[18] = 62;
        Assert.Contains("another processor", Assert.Throws<BootException>(() => loader.PlaceKernel(BootImage.Parse(elf, "x"), "x")).Message);
    }
}
