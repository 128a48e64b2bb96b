using Vivarium.Host;

namespace Vivarium.Machine.Disks;

/// <summary>The file that an image format writes to; tests put one in between that loses writes.</summary>
internal class ImageFile(HostFile file) : IDisposable
{
    public bool IsWritable => file.IsWritable;

    public long Length => file.Length;

    public int Read(ulong offset, Span<byte> destination) => file.Read(offset, destination);

    public virtual int Write(ulong offset, ReadOnlySpan<byte> source) => file.Write(offset, source);

    public virtual int Sync() => file.Sync();

    public virtual int PunchHole(ulong offset, ulong length) => file.PunchHole(offset, length);

    public void Dispose() => file.Dispose();
}
