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
        // cbo.inval is left illegal.
        t[Opcode.PrefetchI] = &Prefetch;
        t[Opcode.PrefetchR] = &Prefetch;
        t[Opcode.PrefetchW] = &Prefetch;
    }

    /// <summary>Any access right will do; a lack of all is reported as a store's fault (manual, CMO extensions, "Traps").</summary>
    private static bool CheckAccess(ref Core c, in Instruction i)
    {
        var address = c.X(i.Rs1);
        var signal = c.Memory.Load8(address, out _);
        return signal == 0 || c.Trap(TrapCause.StorePageFault, address, signal);
    }

    /// <summary>Zeroes the naturally aligned block that holds the address.</summary>
    private static bool CboZero(ref Core c, in Instruction i)
    {
        var address = c.X(i.Rs1);
        var block = address & ~(BlockSize - 1);
        for (ulong offset = 0; offset < BlockSize; offset += sizeof(ulong))
        {
            // A block lies within one page: the first store faults or none does.
            var signal = c.Memory.Store64(block + offset, 0);
            if (signal != 0) return c.Trap(TrapCause.StorePageFault, address, signal);
        }
        return true;
    }

    private static bool Prefetch(ref Core c, in Instruction i) => true;
}
