using System.Runtime.InteropServices;

namespace Vivarium.Cli;

/// <summary>Writes to a host descriptor that others write to as well.</summary>
/// <remarks>A <see cref="FileStream"/> keeps a file position of its own and would write over what the guest wrote meanwhile.</remarks>
internal sealed partial class DescriptorStream(int descriptor) : Stream
{
    private const int EINTR = 4, EAGAIN = 11;
    private const short PollOut = 4;

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Writes what it can. Where nobody reads any more (EPIPE) or the disk is full, there is no place left to complain to.</summary>
    public override void Write(ReadOnlySpan<byte> buffer) => TryWrite(buffer);

    /// <summary>Writes all of it, however long the other side takes; false where it cannot be written.</summary>
    public bool TryWrite(ReadOnlySpan<byte> buffer)
    {
        while (buffer.Length > 0)
        {
            nint written = HostWrite(descriptor, buffer, (nuint)buffer.Length);
            if (written >= 0)
            {
                buffer = buffer[(int)written..];
                continue;
            }

            switch (Marshal.GetLastPInvokeError())
            {
                case EINTR:
                    break;
                case EAGAIN: // somebody who shares it made it non-blocking
                    var wait = new PollDescriptor { Descriptor = descriptor, Events = PollOut };
                    _ = HostPoll(ref wait, 1, -1);
                    break;
                default:
                    return false;
            }
        }

        return true;
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint HostWrite(int descriptor, ReadOnlySpan<byte> buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "poll")]
    private static partial int HostPoll(ref PollDescriptor descriptors, nuint count, int timeout);

    private struct PollDescriptor
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }
}
