using System.Text;

namespace Vivarium.Cli;

/// <summary>Lines for people, written straight to the descriptors: <see cref="Console"/> costs a millisecond to set up.</summary>
internal static class Report
{
    private static readonly UTF8Encoding _utf8 = new(encoderShouldEmitUTF8Identifier: false);

    /// <summary>Standard error as an unbuffered writer: each call is one write, so lines of threads do not mix. Thread-safe.</summary>
    public static TextWriter Errors { get; } = TextWriter.Synchronized(
        new StreamWriter(new DescriptorStream(2), _utf8, bufferSize: 1024) { AutoFlush = true });

    /// <summary>Writes one line to standard output.</summary>
    /// <returns>0, the exit status of a command that went well.</returns>
    public static int Line(string text)
    {
        new DescriptorStream(1).Write(_utf8.GetBytes(text + "\n"));
        return 0;
    }

    /// <summary>Writes <c>viv: message</c> to standard error, as one line whatever the message holds.</summary>
    /// <returns><paramref name="exitCode"/>.</returns>
    public static int Failure(int exitCode, string message)
    {
        new DescriptorStream(2).Write(_utf8.GetBytes("viv: " + message.ReplaceLineEndings(" ").TrimEnd() + "\n"));
        return exitCode;
    }
}
