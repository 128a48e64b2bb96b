using Vivarium.Host;
using Vivarium.Linux.Memory;

namespace Vivarium.Linux.Loader;

/// <summary>
/// The page that signal handlers return to: <c>li a7, 139; ecall</c>. On riscv64 it is the kernel's (there is no SA_RESTORER), and unwinders
/// recognise exactly these two instructions as a signal frame.
/// </summary>
public static class SignalTrampoline
{
    /// <summary>Its address, the same in every address space: the page above the stack's area.</summary>
    public const ulong Address = AddressSpace.StackTop + 0x4000;

    private static readonly byte[] s_code = [0x93, 0x08, 0xb0, 0x08, 0x73, 0x00, 0x00, 0x00];

    public static void Map(AddressSpace memory)
    {
        const MapFlags Flags = MapFlags.Private | MapFlags.Anonymous | MapFlags.Fixed;
        long result = memory.Map(Address, AddressSpace.PageSize, Protection.Read | Protection.Write, Flags, null, 0, "[vdso]");
        if (result < 0 || !memory.Window.TryWriteBytes(Address, s_code)) throw LoadException.Of(-Errno.ENOMEM, "the signal trampoline");
        memory.Protect(Address, AddressSpace.PageSize, Protection.Read | Protection.Execute);
    }
}
