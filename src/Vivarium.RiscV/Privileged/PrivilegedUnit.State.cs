namespace Vivarium.RiscV.Privileged;

// What saved machines keep of a unit. Only while its hart does not run.
public sealed partial class PrivilegedUnit
{
    /// <summary>The CSRs that make up the state, in the order in which they are put back: PMP addresses before what may lock them, and the timer
    /// before what switches it on. Views (sstatus, sie) and read-only ones follow from these; pmpaddr for each entry goes first.</summary>
    public static ReadOnlySpan<ushort> StateCsrs =>
    [
        0x3a0, 0x3a2, 0x302, 0x303, 0x304, 0x305, 0x306, 0x320, 0x340, 0x341, 0x342, 0x343, 0x105, 0x106, 0x140, 0x141, 0x142, 0x143, 0x14d,
        0x30a, 0x10a, 0x180, 0x300, 0xb00, 0xb02,
    ];

    /// <summary>Interrupt-pending bits that software or another hart's IPI latched; devices' own are the devices' state.</summary>
    public uint LatchedInterrupts
    {
        get => Volatile.Read(ref _latches);
        set => Volatile.Write(ref _latches, value & Interrupts.Delegable);
    }

    /// <summary>The mode of a saved hart, after its CSRs.</summary>
    public void RestoreMode(PrivilegeMode mode)
    {
        Mode = mode;
        EnvironmentChanged();
        FloatChanged();
        FlushTranslations();
        FenceInstructions();
        ModeChanged();
    }
}
