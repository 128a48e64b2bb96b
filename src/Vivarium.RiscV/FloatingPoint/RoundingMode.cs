namespace Vivarium.RiscV.FloatingPoint;

/// <summary>Rounding modes, numbered as the <c>rm</c> field and <c>frm</c> (manual, F extension, table "Rounding mode encoding").</summary>
public enum RoundingMode : byte
{
    /// <summary>To nearest, ties to even.</summary>
    NearestEven = 0,

    /// <summary>Towards zero.</summary>
    TowardZero = 1,

    /// <summary>Down, towards minus infinity.</summary>
    Down = 2,

    /// <summary>Up, towards plus infinity.</summary>
    Up = 3,

    /// <summary>To nearest, ties to the larger magnitude.</summary>
    NearestMaxMagnitude = 4,
}

/// <summary>Accrued exceptions, in the bit positions of <c>fflags</c>.</summary>
[Flags]
public enum FloatFlags : uint
{
    None = 0,

    /// <summary>NX: the result had to be rounded.</summary>
    Inexact = 1,

    /// <summary>UF: tiny <em>after</em> rounding, and inexact.</summary>
    Underflow = 2,

    /// <summary>OF: the rounded magnitude exceeds the format.</summary>
    Overflow = 4,

    /// <summary>DZ: exact infinity from finite operands.</summary>
    DivideByZero = 8,

    /// <summary>NV: no useful result, or a signaling NaN was read.</summary>
    Invalid = 16,
}
