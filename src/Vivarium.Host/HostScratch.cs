using System.Runtime.InteropServices;

namespace Vivarium.Host;

/// <summary>Short-lived unmoving memory for the arguments of host syscalls: a per-thread stack, so renting allocates nothing.</summary>
public static class HostScratch
{
    /// <summary>Bytes each thread's stack holds; larger or deeper rents fall back to the native heap.</summary>
    public const int StackSize = 256 * 1024;

    [ThreadStatic]
    private static Stack? _stack;

    /// <summary>Rents <paramref name="bytes"/> (not cleared), 16-byte aligned. Dispose in reverse order, on the same thread.</summary>
    public static ScratchLease Rent(int bytes)
    {
        var stack = _stack ??= new Stack();
        int size = (Math.Max(bytes, 1) + 15) & ~15;
        if (stack.Top + size <= StackSize)
        {
            int start = stack.Top;
            stack.Top += size;
            return new ScratchLease(stack, stack.Base + start, bytes, start);
        }
        return ScratchLease.FromHeap(bytes);
    }

    internal sealed unsafe class Stack
    {
        internal readonly long Base = (long)NativeMemory.AlignedAlloc(StackSize, 64);
        internal int Top;

        ~Stack() => NativeMemory.AlignedFree((void*)Base);
    }
}

/// <summary>A rented piece of <see cref="HostScratch"/>.</summary>
public readonly ref struct ScratchLease
{
    private readonly HostScratch.Stack? _stack;
    private readonly int _start;

    internal ScratchLease(HostScratch.Stack? stack, long address, int length, int start)
    {
        _stack = stack;
        _start = start;
        Address = address;
        Length = length;
    }

    /// <summary>Host address for a syscall's argument.</summary>
    public long Address { get; }

    /// <summary>Bytes rented.</summary>
    public int Length { get; }

    // SAFETY: Address..Address+Length is native memory owned by this lease until Dispose.
    /// <summary>The same bytes for C#.</summary>
    public unsafe Span<byte> Span => new((void*)Address, Length);

    internal static unsafe ScratchLease FromHeap(int bytes) => new(null, (long)NativeMemory.AlignedAlloc((nuint)bytes, 64), bytes, -1);

    /// <summary>Gives the memory back.</summary>
    public unsafe void Dispose()
    {
        if (_stack != null) _stack.Top = _start;
        else if (Address != 0) NativeMemory.AlignedFree((void*)Address);
    }
}
