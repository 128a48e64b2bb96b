namespace Vivarium.Machine.Harts;

/// <summary>The built-in SBI: what answers <c>ecall</c> from S-mode when no firmware runs in M-mode.</summary>
public interface ISupervisorBinaryInterface
{
    /// <summary>Serves one call on the hart's own thread: extension in a7 (x17), function in a6 (x16), arguments in a0..a5 (x10..x15); writes
    /// the error to a0 and the value to a1. pc is moved past the <c>ecall</c> before, so that a call may also redirect the hart.</summary>
    void Call(MachineHart hart);
}
