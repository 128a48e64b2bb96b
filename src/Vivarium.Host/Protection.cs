namespace Vivarium.Host;

/// <summary>What may be done with mapped memory; values are the kernel's PROT_* bits.</summary>
[Flags]
public enum Protection
{
    None = 0,
    Read = 1,
    Write = 2,

    /// <summary>Somebody else's code: data for the host, so mapped readable and never executable.</summary>
    Execute = 4,
}
