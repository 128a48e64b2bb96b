namespace Vivarium.Images.Archives;

/// <summary>Reads through a decompressor, whatever exceptions of its own that has for damaged input (index out of range among them).</summary>
internal sealed class DecompressorStream(Stream decompressor) : Stream
{
    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(Span<byte> buffer)
    {
        try
        {
            return decompressor.Read(buffer);
        }
        catch (EndOfStreamException e)
        {
            throw new InvalidDataException("it is truncated", e);
        }
        catch (Exception e) when (e is not IOException { HResult: > 0 and < 4096 })
        {
            throw new InvalidDataException("its compressed data is damaged", e);
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            decompressor.Dispose();
        base.Dispose(disposing);
    }
}
