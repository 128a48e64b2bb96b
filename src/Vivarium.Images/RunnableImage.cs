namespace Vivarium.Images;

/// <summary>An unpacked image that stays where it is until this is disposed of.</summary>
public sealed class RunnableImage : IDisposable
{
    private readonly IDisposable? _use;

    internal RunnableImage(string name, string root, OciProcessConfig config, IDisposable? use)
    {
        Name = name;
        Root = root;
        Config = config;
        _use = use;
    }

    public string Name { get; }

    /// <summary>Host directory with the image's tree. Other runs share it.</summary>
    public string Root { get; }

    /// <summary>What the image says about its process.</summary>
    public OciProcessConfig Config { get; }

    public void Dispose() => _use?.Dispose();
}
