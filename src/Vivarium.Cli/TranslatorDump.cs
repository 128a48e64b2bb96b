using System.Globalization;
using System.Text;
using Iced.Intel;
using Vivarium.Translation;
using Vivarium.Translation.Profiling;

namespace Vivarium.Cli;

/// <summary>What the command line says about the translator: <c>--dump</c>, <c>--dump-range</c>, <c>--perf-map</c>, <c>--jitdump</c>.</summary>
internal static class TranslatorDump
{
    /// <summary>The translator's options; null where the command line says nothing about it.</summary>
    public static TranslationOptions? Options(RunRequest request)
    {
        if (request.Dump.Count == 0 && !request.PerfMap && request.JitDump is null) return null;
        var range = request.DumpRange ?? (0, ulong.MaxValue);
        return TranslationOptions.FromEnvironment() with
        {
            PerfMap = request.PerfMap,
            JitDump = request.JitDump is { } directory ? OpenJitDump(directory) : null,
            DumpSink = request.Dump.Count == 0 ? null : text => Report.Errors.WriteLine(text),
            DumpStart = range.Start,
            DumpEnd = range.End,
            DumpIr = request.Dump.Contains("ir"),
            Disassemble = request.Dump.Contains("asm") ? Disassemble : null,
        };
    }

    private static JitDump OpenJitDump(string directory)
    {
        try
        {
            return new JitDump(directory);
        }
        catch (IOException e)
        {
            throw new CommandException(ExitCodes.RunFailed, $"cannot write a jitdump in '{directory}': {e.Message}");
        }
    }

    private static string Disassemble(ReadOnlySpan<byte> code, ulong address)
    {
        var decoder = Iced.Intel.Decoder.Create(64, new ByteArrayCodeReader(code.ToArray()));
        decoder.IP = address;
        var formatter = new NasmFormatter();
        var output = new StringOutput();
        var text = new StringBuilder();
        while (decoder.IP < address + (ulong)code.Length)
        {
            decoder.Decode(out Instruction instruction);
            formatter.Format(instruction, output);
            text.Append(CultureInfo.InvariantCulture, $"      {instruction.IP:x}: {output.ToStringAndReset()}\n");
        }
        return text.ToString();
    }
}
