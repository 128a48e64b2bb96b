using Vivarium.RiscV.Elf;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Memory;

/// <summary>Names guest addresses by the symbols of the files that are mapped there: for profiles and reports, not for hot paths.</summary>
/// <remarks>Thread-safe. Takes the address space's lock.</remarks>
internal sealed class GuestSymbols(AddressSpace space)
{
    private const long MaxFile = 512 << 20;

    private readonly Dictionary<CodeIdentity, ElfImage?> _images = [];

    /// <summary><c>function+offset [file]</c> for an address, <c>[file+offset]</c> where no symbol covers it; null where no file is mapped.</summary>
    public string? Name(ulong address)
    {
        if (space.Find(address) is not { File: { IsRegular: true } file } vma) return null;
        ulong offset = address - vma.Start + vma.FileOffset;
        string fileName = Path.GetFileName(file.Path);
        if (Image(file) is { } image)
        {
            foreach (ElfSegment segment in image.Segments)
            {
                if (segment.Type == SegmentType.Load && offset >= segment.Offset && offset - segment.Offset < segment.FileSize
                    && image.FindSymbol(offset - segment.Offset + segment.VirtualAddress, out string name, out ulong inside))
                    return inside == 0 ? $"{name} [{fileName}]" : $"{name}+0x{inside:x} [{fileName}]";
            }
        }
        return $"[{fileName}+0x{offset:x}]";
    }

    private ElfImage? Image(MappedFile file)
    {
        lock (_images)
        {
            if (_images.TryGetValue(file.Identity, out ElfImage? image)) return image;
            try
            {
                if (file.Identity.Size <= MaxFile) image = ElfImage.Parse(File.ReadAllBytes($"/proc/self/fd/{file.HostDescriptor}"));
                image?.FindSymbol(0, out _, out _); // reads the tables, which may be damaged
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ElfFormatException)
            {
                // Not one, or gone: addresses stay numbers.
                image = null;
            }
            return _images[file.Identity] = image;
        }
    }
}
