using Vivarium.Images.Host;

namespace Vivarium.Images;

/// <summary>An unpacked image that stays where it is until this is disposed of.</summary>
public sealed class RunnableImage : IDisposable
{
    private readonly IDisposable? _use;
    private readonly StoreLayout? _layout;
    private WorkArea? _changes;

    internal RunnableImage(string name, string root, OciProcessConfig config, IDisposable? use, StoreLayout? layout = null)
    {
        _layout = layout;
        Name = name;
        Root = root;
        Config = config;
        _use = use;
    }

    public string Name { get; }

    /// <summary>Host directory with the image's tree. Other runs share it: it must not be changed.</summary>
    public string Root { get; }

    /// <summary>What the image says about its process.</summary>
    public OciProcessConfig Config { get; }

    /// <summary>A directory beside the tree for what a run changes, removed with this object (or by the store's next work, where the process dies).</summary>
    /// <exception cref="ImageException">The store cannot be written.</exception>
    public string MakeChangesDirectory()
    {
        if (_changes is null)
        {
            try
            {
                _changes = WorkArea.Begin(_layout ?? throw new InvalidOperationException("the image is of no store"));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new ImageException($"cannot keep the changes of a run in the image store: {HostFiles.Reason(e)}", e);
            }
        }

        return _changes.Directory;
    }

    public void Dispose()
    {
        _changes?.Dispose();
        _use?.Dispose();
    }
}
