using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Optimizing.Regions;

/// <summary>A page of a machine's code.</summary>
/// <param name="Virtual">Its virtual address.</param>
/// <param name="Offset">Where it lies in RAM.</param>
internal readonly record struct CodePage(ulong Virtual, ulong Offset);

/// <summary>What a region's builder must know of the machine: where virtual pages are, as far as they have been executed, and what instructions there are.
/// It answers the same for as long as it lives.</summary>
internal sealed class MachinePages(CodePage head, ExtensionSet extensions, Func<ulong, ulong?> find)
{
    private readonly Dictionary<ulong, ulong?> _offsets = new() { [head.Virtual >> 12] = head.Offset };

    /// <summary>The offset in RAM of a virtual page, by its number; null where nobody has executed it.</summary>
    public ulong? OffsetOf(ulong number)
    {
        if (!_offsets.TryGetValue(number, out ulong? offset)) _offsets.Add(number, offset = find(number));
        return offset;
    }

    public bool Has(in Instruction i) => extensions.Contains(InstructionTable.Rows[i.Row].Extension);

    /// <summary>The pages of runs of code, sorted.</summary>
    public CodePage[] PagesOf((ulong Start, int Length)[] runs)
    {
        var numbers = new SortedSet<ulong>();
        foreach ((ulong start, int length) in runs)
        {
            numbers.Add(start >> 12);
            numbers.Add(start + (ulong)length - 1 >> 12);
        }
        return [.. numbers.Select(n => new CodePage(n << 12, OffsetOf(n)!.Value))];
    }
}
