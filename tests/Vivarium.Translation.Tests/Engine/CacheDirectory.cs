using Vivarium.Translation.Persistence;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>A directory for stored translations, removed at the end.</summary>
internal sealed class CacheDirectory : IDisposable
{
    public string Path { get; } = System.IO.Path.Combine(System.IO.Path.GetTempPath(), "viv-test-" + Guid.NewGuid().ToString("N"));

    /// <summary>The cache's files, without the lock.</summary>
    public string[] Files => Directory.GetFiles(Path, "*.vtc");

    public TranslationStore Open(long limit = TranslationStore.DefaultLimit) => new(Path, new TranslationOptions { Validate = true }, limit);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
