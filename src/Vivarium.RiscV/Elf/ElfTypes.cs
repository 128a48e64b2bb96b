namespace Vivarium.RiscV.Elf;

/// <summary>The bytes are not an ELF file that can be used; the message completes the sentence "viv: cannot ... 'file': ".</summary>
public sealed class ElfFormatException(string message) : Exception(message);

/// <summary>e_type.</summary>
public enum ElfType : ushort { None = 0, Relocatable = 1, Executable = 2, Shared = 3, Core = 4 }

/// <summary>The values of e_machine that errors name.</summary>
public enum ElfMachine : ushort { None = 0, I386 = 3, Arm = 40, X86_64 = 62, AArch64 = 183, RiscV = 243, LoongArch = 258 }

/// <summary>The ELF header (gABI, chapter 4).</summary>
public readonly record struct ElfHeader(
    ElfType Type, ElfMachine Machine, uint Flags, ulong Entry, ulong ProgramHeaderOffset, ulong SectionHeaderOffset,
    byte OsAbi, int ProgramHeaderCount);

/// <summary>p_type values that matter here.</summary>
public enum SegmentType : uint
{
    Null = 0, Load = 1, Dynamic = 2, Interpreter = 3, Note = 4, ProgramHeaders = 6, Tls = 7,
    GnuEhFrame = 0x6474e550, GnuStack = 0x6474e551, GnuRelro = 0x6474e552, GnuProperty = 0x6474e553, RiscVAttributes = 0x70000003,
}

/// <summary>p_flags.</summary>
[Flags]
public enum SegmentFlags : uint { None = 0, Execute = 1, Write = 2, Read = 4 }

/// <summary>One program header, as in the file: nothing about it has been checked.</summary>
public readonly record struct ElfSegment(
    SegmentType Type, SegmentFlags Flags, ulong Offset, ulong VirtualAddress, ulong FileSize, ulong MemorySize, ulong Alignment);

/// <summary>sh_type values that matter here.</summary>
public enum SectionType : uint
{
    Null = 0, ProgramBits = 1, SymbolTable = 2, StringTable = 3, Rela = 4, Hash = 5, Dynamic = 6, Note = 7, NoBits = 8, Rel = 9,
    DynamicSymbols = 11, GnuVersionDefinitions = 0x6ffffffd, GnuVersionNeeds = 0x6ffffffe, GnuVersionSymbols = 0x6fffffff,
    RiscVAttributes = 0x70000003,
}

/// <summary>sh_flags.</summary>
[Flags]
public enum SectionFlags : ulong { None = 0, Write = 1, Allocate = 2, Execute = 4, Compressed = 0x800 }

/// <summary>One section header. <see cref="ElfImage.SectionData"/> reads it safely.</summary>
public readonly record struct ElfSection(
    int Index, string Name, SectionType Type, SectionFlags Flags, ulong Address, ulong Offset, ulong Size, uint Link, uint Info, ulong EntrySize);

/// <summary>st_info's type.</summary>
public enum SymbolType : byte { None = 0, Object = 1, Function = 2, Section = 3, File = 4, Common = 5, Tls = 6, IndirectFunction = 10 }

/// <summary>st_info's binding.</summary>
public enum SymbolBinding : byte { Local = 0, Global = 1, Weak = 2, Unique = 10 }

/// <summary>One symbol. Version is that of a dynamic symbol, else empty, and is written after <c>@@</c> when it is the default, else after
/// <c>@</c>; Section is an index or one of the constants.</summary>
public readonly record struct ElfSymbol(
    string Name, string Version, bool VersionIsDefault, ulong Value, ulong Size, SymbolType Type, SymbolBinding Binding, int Section)
{
    public const int Undefined = 0, Absolute = 0xfff1, Common = 0xfff2;
}
