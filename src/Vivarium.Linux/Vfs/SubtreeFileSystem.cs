namespace Vivarium.Linux.Vfs;

/// <summary>A file or directory of a mounted file system that is mounted once more elsewhere (a bind mount). The walker puts
/// <see cref="Prefix"/> in front of paths and goes on in <see cref="Inner"/>.</summary>
internal sealed class SubtreeFileSystem(FileSystem inner, byte[] prefix) : FileSystem
{
    public FileSystem Inner { get; } = inner;

    /// <summary>Path inside <see cref="Inner"/>, without slashes at the ends.</summary>
    public byte[] Prefix { get; } = prefix;

    public override long Finish(in PathRequest request, int baseDescriptor, long address, Span<byte> path, ref PathResult result) =>
        baseDescriptor != -1 ? Inner.Finish(request, baseDescriptor, address, path, ref result) : throw new InvalidOperationException("the walker composes paths of subtrees");

    public override int ReadLink(in PathRequest request, bool last, long address, Span<byte> path, Span<byte> target, long targetAddress) =>
        throw new InvalidOperationException("the walker composes paths of subtrees");
}
