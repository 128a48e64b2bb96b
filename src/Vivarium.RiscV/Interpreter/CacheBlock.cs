using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>
/// Zicbom, Zicboz and Zicbop as Linux sets them up for user mode: clean, flush and zero are allowed, invalidate is not (it could
/// reveal what the kernel cleared). Host caches are coherent, so clean and flush do nothing but check access.
/// </summary>
internal static unsafe class CacheBlock
{
    /// <summary>Bytes in a cache block; riscv_hwprobe tells guests.</summary>
    public const ulong BlockSize = 64;

    public static void AddTo(SemanticsTable t)
    {
        t[Opcode.CboClean] = &CheckAccess;
        t[Opcode.CboFlush] = &CheckAccess;
        t[Opcode.CboZero] = &CboZero;
        t[Opcode.CboInval] = &CboInval;
        t[Opcode.PrefetchI] = &Prefetch;
        t[Opcode.PrefetchR] = &Prefetch;
        t[Opcode.PrefetchW] = &Prefetch;
    }

    /// <summary>Any access right will do; a lack of all is reported as a store's fault (manual, CMO extensions, "Traps").</summary>
    private static bool CheckAccess(ref Core c, in Instruction i)
    {
        var address = c.X(i.Rs1);
        if (c.Unit is { } unit && !unit.CacheBlockAllowed(i.Opcode)) return c.Illegal(i);
        var signal = c.Memory.Load8(address, out _);
        if (signal >= 0) return signal == 0 || c.Trap(TrapCause.StorePageFault, address, signal);
        return c.Trap(c.Unit!.FaultCause == TrapCause.LoadPageFault ? TrapCause.StorePageFault : TrapCause.StoreAccessFault, address);
    }

    /// <summary>Illegal in process mode; on a machine what <c>menvcfg.CBIE</c> says, which never has to be more than a flush.</summary>
    private static bool CboInval(ref Core c, in Instruction i) => c.Unit is null ? c.Illegal(i) : CheckAccess(ref c, i);

    /// <summary>Zeroes the naturally aligned block that holds the address.</summary>
    private static bool CboZero(ref Core c, in Instruction i)
    {
        var address = c.X(i.Rs1);
        if (c.Unit is { } unit && !unit.CacheBlockAllowed(i.Opcode)) return c.Illegal(i);
        var block = address & ~(BlockSize - 1);
        for (ulong offset = 0; offset < BlockSize; offset += sizeof(ulong))
        {
            // A block lies within one page: the first store faults or none does.
            var signal = c.Memory.Store64(block + offset, 0);
            if (signal != 0) return c.MemoryTrap(TrapCause.StorePageFault, address, signal);
        }
        return true;
    }

    private static bool Prefetch(ref Core c, in Instruction i) => true;
}
