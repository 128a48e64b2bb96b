namespace Vivarium.Machine.Harts;

/// <summary>What <see cref="MachineHart.RemoteFence"/> makes a hart forget.</summary>
public enum FenceKind
{
    /// <summary><c>fence.i</c>.</summary>
    Instructions,

    /// <summary><c>sfence.vma</c> for all address spaces.</summary>
    AddressSpaces,

    /// <summary><c>sfence.vma</c> for one ASID.</summary>
    OneAddressSpace,
}
