namespace Vivarium.Images;

/// <summary>An image, an archive or the store is not as it must be: one line for people that names what and why.</summary>
public sealed class ImageException : Exception
{
    public ImageException(string message)
        : base(message)
    {
    }

    public ImageException(string message, Exception cause)
        : base(message, cause)
    {
    }
}
