using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Vivarium.Host;

/// <summary>What the emitted signal handlers read. Native memory with a fixed layout; they address the fields by these offsets.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SignalTables
{
    public const int MaxFixups = 64;
    public const int MaxRegions = 64;

    /// <summary>Pairs (pc that may fault, pc to go on at), ended by a zero pc. Written before any handler is installed.</summary>
    public fixed ulong Fixups[2 * (MaxFixups + 1)];

    /// <summary>Pointers to <see cref="RegionRecord"/>s or null. A slot changes by one aligned 8-byte store, and records are immutable
    /// and never freed (64 bytes per registered code cache), so a handler needs no lock.</summary>
    public fixed ulong Regions[MaxRegions];

    /// <summary>By signal number: the handler that was installed before ours (0 default, 1 ignore).</summary>
    public fixed ulong OldHandlers[65];

    /// <summary>A kernel sigaction of zeroes: the default action.</summary>
    public KernelSigaction DefaultAction;
}

/// <summary><see cref="CodeRegion"/> as the handlers read it. The offsets are in <see cref="SignalStubs"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RegionRecord
{
    public ulong Start;             // 0
    public ulong Length;            // 8
    public int ContextBias;         // 16
    public int FaultHostPcOffset;   // 20
    public int FaultAddressOffset;  // 24
    public int FaultSignalOffset;   // 28
    public ulong FaultStub;         // 32
    public int KickHostPcOffset;    // 40
    public int Padding;             // 44
    public ulong KickStub;          // 48
}

/// <summary>The kernel's struct sigaction on x86-64.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KernelSigaction
{
    public const ulong SaSigInfo = 4, SaOnStack = 0x08000000, SaRestart = 0x10000000, SaRestorer = 0x04000000, SaResetHand = 0x80000000;

    public ulong Handler;
    public ulong Flags;
    public ulong Restorer;
    public ulong Mask;
}
