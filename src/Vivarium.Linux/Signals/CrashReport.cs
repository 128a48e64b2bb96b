using Vivarium.Linux.Memory;

namespace Vivarium.Linux.Signals;

/// <summary>The one line that a person reads when a guest dies of a fault.</summary>
public static class CrashReport
{
    /// <summary>Reports the death of the realm's first process; children report to their parents.</summary>
    public static void Write(GuestThread thread, in SigInfo info)
    {
        var process = thread.Process;
        if (process.Parent != null || process.Realm.Options.Quiet) return;
        string text = $"viv: {process.Name}: {Signal.Name(info.Signal)} at pc 0x{thread.Hart.Pc:x}{Locate(process.Memory, thread.Hart.Pc)}";
        if ((Signal.Bit(info.Signal) & Signal.Synchronous) != 0 && info.Code is not (SigInfo.SI_USER or SigInfo.SI_TKILL))
        {
            text += info.Signal switch
            {
                Signal.SIGILL => thread.Window.TryLoad32(thread.Hart.Pc, out uint bits) ? $": instruction 0x{bits:x8}" : "",
                Signal.SIGTRAP => "",
                _ => $": address 0x{info.Field0:x}{(info.Signal == Signal.SIGSEGV ? info.Code == SigInfo.SEGV_ACCERR ? " (no permission)" : " (not mapped)" : "")}",
            };
        }
        process.Realm.Errors.WriteLine(text);
        process.Realm.Errors.Flush();
    }

    /// <summary>Where an address is: symbol and offset, or file and offset, or nothing.</summary>
    private static string Locate(AddressSpace memory, ulong address)
    {
        var vma = memory.Find(address);
        if (vma == null) return "";
        string name = vma.File?.Path ?? vma.Name ?? "";
        if (name.Length == 0) return "";
        int slash = name.LastIndexOf('/');
        return $" ({name[(slash + 1)..]}+0x{address - vma.Start + vma.FileOffset:x})";
    }
}
