using Microsoft.Win32.SafeHandles;
using Vivarium.Linux.Memory;
using Vivarium.RiscV.Elf;

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
        ulong fileOffset = address - vma.Start + vma.FileOffset;
        return vma.File is { IsRegular: true } file && Symbol(file.HostDescriptor, fileOffset) is { } symbol
            ? $" <{symbol}>"
            : $" ({name[(name.LastIndexOf('/') + 1)..]}+0x{fileOffset:x})";
    }

    /// <summary>The symbol at an offset in an ELF file, as <c>name+0x12</c>; null where there is none.</summary>
    private static string? Symbol(int descriptor, ulong fileOffset)
    {
        try
        {
            using var stream = new FileStream(new SafeFileHandle(descriptor, ownsHandle: false), FileAccess.Read);
            stream.Position = 0;
            var image = ElfImage.Parse(stream);
            foreach (var segment in image.Segments)
            {
                if (segment.Type != SegmentType.Load || fileOffset < segment.Offset || fileOffset - segment.Offset >= segment.FileSize) continue;
                if (image.FindSymbol(fileOffset - segment.Offset + segment.VirtualAddress, out string name, out ulong offset))
                    return offset == 0 ? name : $"{name}+0x{offset:x}";
            }
        }
        catch (Exception error) when (error is IOException or ElfFormatException or NotSupportedException or UnauthorizedAccessException)
        {
            // A report without a symbol is still a report.
        }
        return null;
    }
}
