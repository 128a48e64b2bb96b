using System.Text;

namespace Vivarium.Images.Host;

/// <summary>Names as Linux has them: bytes that end in zero.</summary>
internal static class HostPath
{
    public static readonly byte[] Dot = [(byte)'.', 0];

    public static byte[] Zero(ReadOnlySpan<byte> name)
    {
        var result = new byte[name.Length + 1];
        name.CopyTo(result);
        return result;
    }

    public static byte[] Zero(string name) => Zero(Encoding.UTF8.GetBytes(name));

    /// <summary>For people: bytes that are no text or would disturb a terminal become <c>?</c>, and long names are shortened.</summary>
    public static string Show(ReadOnlySpan<byte> name)
    {
        if (name.Length > 0 && name[^1] == 0)
            name = name[..^1];
        string text = Encoding.UTF8.GetString(name.Length > 200 ? name[..200] : name);
        var shown = new StringBuilder(text.Length);
        foreach (char c in text)
            shown.Append(char.IsControl(c) || c == '\uFFFD' ? '?' : c);
        return name.Length > 200 ? shown + "..." : shown.ToString();
    }
}
