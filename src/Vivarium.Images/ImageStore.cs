namespace Vivarium.Images;

public sealed class ImageStore
{
    public static ImageStore Open(string? directory) => new();
    public RunnableImage Prepare(string name) => throw new ImageException($"cannot run image '{name}': no such image");
}
