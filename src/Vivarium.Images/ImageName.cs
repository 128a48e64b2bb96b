namespace Vivarium.Images;

/// <summary>Names of images: letters, digits and <c>. _ - / :</c>, starting with a letter or digit, at most 255 bytes.</summary>
internal static class ImageName
{
    /// <summary>Throws what a person can act on where the name is none.</summary>
    public static void Check(string name)
    {
        bool valid = name.Length is > 0 and <= 255 && char.IsAsciiLetterOrDigit(name[0]);
        foreach (char c in name)
            valid &= char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-' or '/' or ':';
        if (!valid)
            throw new ImageException($"cannot use '{Host.HostPath.Show(System.Text.Encoding.UTF8.GetBytes(name))}' as an image name: use letters, digits and ._-/: (a letter or digit first)");
    }
}
