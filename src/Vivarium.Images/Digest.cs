using System.Security.Cryptography;
using System.Text;

namespace Vivarium.Images;

/// <summary>Digests in OCI's writing: <c>sha256:</c> and 64 lower-case hexadecimal digits.</summary>
internal static class Digest
{
    private const string Prefix = "sha256:";

    public static string Of(ReadOnlySpan<byte> content)
    {
        Span<byte> hash = stackalloc byte[32];
        SHA256.HashData(content, hash);
        return Write(hash);
    }

    public static string Write(ReadOnlySpan<byte> hash) => Prefix + Convert.ToHexStringLower(hash);

    public static bool IsValid(string? digest)
    {
        if (digest is null || digest.Length != Prefix.Length + 64 || !digest.StartsWith(Prefix, StringComparison.Ordinal))
            return false;
        return !digest.AsSpan(Prefix.Length).ContainsAnyExcept("0123456789abcdef");
    }

    /// <summary>The digits alone: the file name in <c>blobs/sha256</c>.</summary>
    public static string Hex(string digest) => digest[Prefix.Length..];

    /// <summary>What identifies a stack of layers (OCI's ChainID), lowest first.</summary>
    public static string Chain(IEnumerable<string> diffIds)
    {
        string? chain = null;
        foreach (string diffId in diffIds)
            chain = chain is null ? diffId : Of(Encoding.ASCII.GetBytes(chain + " " + diffId));
        return chain ?? Of([]);
    }
}
