using System.Globalization;
using System.Text;
using Iced.Intel;
using Vivarium.Translation;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Profiling;

namespace Vivarium.Cli;

/// <summary>What the command line says about the translator: <c>--dump</c>, <c>--dump-range</c>, <c>--strict-memory</c>, <c>--perf-map</c>, <c>--jitdump</c>.</summary>
internal static class TranslatorDump
{
    /// <summary>The translator's options; null where the command line says nothing about it.</summary>
    public static TranslationOptions? Options(RunRequest request)
    {
        bool dump = request.Dump.Contains("ir") || (request.Dump.Contains("asm") && !request.Optimize);
        if (!dump && !request.PerfMap && !request.StrictMemory && request.JitDump is null) return null;
        var range = request.DumpRange ?? (0, ulong.MaxValue);
        return TranslationOptions.FromEnvironment() with
        {
            PerfMap = request.PerfMap,
            StrictMemory = request.StrictMemory,
            JitDump = request.JitDump is { } directory ? OpenJitDump(directory) : null,
            DumpSink = !dump ? null : text => Report.Errors.WriteLine(text),
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

    /// <summary>The optimising tier's options; null without it.</summary>
    public static OptimizerOptions? Optimizer(RunRequest request)
    {
        if (!request.Optimize) return null;
        var range = request.DumpRange ?? (0, ulong.MaxValue);
        var defaults = new OptimizerOptions().WithProcessors(request.JitAffinity);
        bool region = request.Dump.Contains("region"), llvm = request.Dump.Contains("llvm"), asm = request.Dump.Contains("asm");
        return defaults with
        {
            Policy = request.JitPolicy ?? defaults.Policy,
            Threads = request.JitThreads ?? defaults.Threads,
            Threshold = request.JitThreshold ?? defaults.Threshold,
            WarmUp = request.JitThreshold is null ? defaults.WarmUp : 0,
            DumpSink = region || llvm || asm ? text => Report.Errors.WriteLine(text) : null,
            DumpStart = range.Start,
            DumpEnd = range.End,
            DumpRegion = region,
            DumpLlvm = llvm,
            Disassemble = asm ? Disassemble : null,
        };
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
