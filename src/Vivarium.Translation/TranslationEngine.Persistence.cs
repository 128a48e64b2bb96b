using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Persistence;

namespace Vivarium.Translation;

// Translations that outlive the process: blocks of file-backed code are looked for in the store before they are translated.
public sealed unsafe partial class TranslationEngine
{
    private readonly CodeRanges _codeRanges = new();

    /// <inheritdoc/>
    public override void MapCode(ulong start, ulong length, CodeIdentity identity, ulong fileOffset)
    {
        if (_cache.Store is not { } store || length == 0 || start + length < start) return;
        // Stored offsets have 32 bits.
        if (fileOffset + length < fileOffset || fileOffset + length > uint.MaxValue) return;
        ulong bias = start - fileOffset;
        StoredBlocks? regions = _farm == null ? null : store.OpenRegions(identity, bias, Optimizing.CompileFarm.CompilerIdentity);
        _codeRanges.Add(new CodeRange(start, start + length, bias, store.Open(identity, bias), regions));
    }

    /// <summary>The stored block at <paramref name="pc"/>, unpublished; null where there is none that fits.</summary>
    private BlockHeader* Load(BlockTranslator translator, MemoryWindow memory, ulong pc, in CodeRange range, bool quick)
    {
        BlockHeader* block = translator.Load(memory, pc, range, quick ? _options.QuickRuns : 0, out bool invalid);
        if (invalid) range.Blocks!.Refuse();
        return block;
    }
}
