namespace Vivarium.Machine.Board;

/// <summary>Where things are, and their interrupts: as QEMU's <c>virt</c> machine has them where guests know that one.</summary>
public static class MemoryMap
{
    public const ulong Syscon = 0x10_0000;
    public const ulong Rtc = 0x10_1000;
    public const ulong Aclint = 0x200_0000;
    public const ulong PciIo = 0x300_0000;
    public const ulong PciIoSize = 0x1_0000;
    public const ulong Plic = 0xc00_0000;
    public const ulong Uart = 0x1000_0000;
    public const ulong VirtioMmio = 0x1000_1000;
    public const ulong VirtioMmioStride = 0x1000;
    public const int VirtioMmioSlots = 8;
    public const ulong PciEcam = 0x3000_0000;
    public const ulong PciEcamSize = 0x1000_0000; // 256 buses
    public const ulong PciMmio = 0x4000_0000;
    public const ulong PciMmioSize = 0x4000_0000;
    public const ulong Ram = 0x8000_0000;

    public const int VirtioMmioInterrupt = 1; // of the first slot
    public const int UartInterrupt = 10;
    public const int RtcInterrupt = 11;
    public const int PciInterrupt = 32; // INTA; INTB to INTD follow
}
