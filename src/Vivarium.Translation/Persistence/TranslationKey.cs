using System.Globalization;
using System.Runtime.InteropServices;
using Vivarium.RiscV.Execution;

namespace Vivarium.Translation.Persistence;

/// <summary>What stored translations are valid for: all of it stands in the file's header and names the file.</summary>
/// <param name="Identity">The guest file.</param>
/// <param name="Bias">Guest address - file offset of the mapping (modulo 2^64): guest addresses are constants in the code.</param>
/// <param name="Features">The host features that code is emitted for.</param>
/// <param name="Version0">The translator's build and options.</param>
/// <param name="Version1">The second half.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct TranslationKey(CodeIdentity Identity, ulong Bias, ulong Features, ulong Version0, ulong Version1)
{
    public string FileName
    {
        get
        {
            TranslationKey key = this;
            ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(new ReadOnlySpan<TranslationKey>(in key));
            return string.Create(CultureInfo.InvariantCulture, $"{Checksum.Of(bytes, 1):x16}{Checksum.Of(bytes, 2):x16}{TranslationFile.Extension}");
        }
    }
}
