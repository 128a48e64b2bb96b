using System.Runtime.InteropServices;
using System.Text;
using Vivarium.Host;
using Vivarium.Translation.CodeGen;

namespace Vivarium.Translation.Optimizing.Llvm;

/// <summary>LLVM IR as text to an ELF object. One per compiling thread.</summary>
internal sealed unsafe class LlvmCompiler : IDisposable
{
    private const string Triple = "x86_64-unknown-linux-gnu";
    private const int OptimizeDefault = 2, RelocationPic = 2, CodeModelSmall = 3, ObjectFile = 1;

    private readonly LlvmLibrary _llvm;
    private readonly nint _machine, _disassembler;

    /// <exception cref="InvalidOperationException">The library cannot make code for this machine.</exception>
    public LlvmCompiler(LlvmLibrary llvm)
    {
        _llvm = llvm;
        nint target;
        byte* message;
        fixed (byte* triple = Utf8(Triple), cpu = "x86-64\0"u8, features = Utf8(Features))
        {
            if (llvm.GetTargetFromTriple(triple, &target, &message) != 0) throw new InvalidOperationException(Take(message));
            _machine = llvm.CreateTargetMachine(target, triple, cpu, features, OptimizeDefault, RelocationPic, CodeModelSmall);
            _disassembler = llvm.CreateDisassembler(triple, cpu, features, 0, 0, 0, 0);
        }
        if (_machine == 0) throw new InvalidOperationException("no target machine");
    }

    /// <summary>First lines of every module.</summary>
    public const string Header = "target datalayout = \"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128\"\n"
        + "target triple = \"" + Triple + "\"\n";

    /// <summary>The host's features less what VIV_CPU_MASK hides, in LLVM's words.</summary>
    public static string Features { get; } = BuildFeatures(HostFeatures.Cpu);

    private static string BuildFeatures(CpuFeatures cpu)
    {
        var list = new List<string> { "+cx16", "+sahf", "+sse3", "+ssse3", "+sse4.1" };
        Add(CpuFeature.Sse42, "sse4.2");
        Add(CpuFeature.Popcnt, "popcnt");
        Add(CpuFeature.Lzcnt, "lzcnt");
        Add(CpuFeature.Bmi1, "bmi");
        Add(CpuFeature.Bmi2, "bmi2");
        Add(CpuFeature.Movbe, "movbe");
        Add(CpuFeature.Avx, "avx");
        Add(CpuFeature.Avx2, "avx2");
        Add(CpuFeature.Fma, "fma");
        if (cpu.Avx512) list.AddRange(["+avx512f", "+avx512vl", "+avx512dq", "+avx512bw", "+avx512cd", "+evex512"]);
        list.Add("+prefer-no-gather"); // single loads are faster on Zen, and where microcode closes a hole: nbody takes 0.83 of the time
        return string.Join(',', list);

        void Add(CpuFeature feature, string name)
        {
            if (cpu.Has(feature)) list.Add("+" + name);
        }
    }

    /// <summary>Optimises and compiles one module.</summary>
    /// <param name="text">LLVM IR.</param>
    /// <param name="pipeline">Names of passes as <c>opt -passes=</c> takes them.</param>
    /// <param name="optimized">Receives the module after the passes when it is not null.</param>
    /// <param name="isPointless">Asked between the steps: true ends the compilation. The library itself cannot be interrupted.</param>
    /// <param name="straight">Look for vectors outside of loops too.</param>
    /// <returns>null where it was ended so.</returns>
    /// <exception cref="InvalidOperationException">LLVM refuses the module; the message says why.</exception>
    public ElfObject? Compile(string text, string pipeline, Action<string>? optimized, Func<bool>? isPointless = null, bool straight = true)
    {
        nint context = _llvm.ContextCreate();
        nint module = 0;
        try
        {
            byte* message = null;
            byte[] bytes = Encoding.ASCII.GetBytes(text + "\0");
            fixed (byte* data = bytes, name = "guest\0"u8)
            {
                nint buffer = _llvm.CreateMemoryBuffer(data, (nuint)bytes.Length - 1, name);
                if (_llvm.ParseIr(context, buffer, &module, &message) != 0) throw new InvalidOperationException(Take(message));
            }
            if (isPointless?.Invoke() == true) return null;
            nint options = _llvm.CreatePassBuilderOptions();
            if (!straight) _llvm.SetSlpVectorization(options, 0);
            nint error;
            fixed (byte* passes = Utf8(pipeline)) error = _llvm.RunPasses(module, passes, _machine, options);
            _llvm.DisposePassBuilderOptions(options);
            if (error != 0)
            {
                byte* why = _llvm.GetErrorMessage(error);
                string problem = Marshal.PtrToStringUTF8((nint)why) ?? "";
                _llvm.DisposeErrorMessage(why);
                throw new InvalidOperationException(problem);
            }
            if (optimized != null)
            {
                byte* printed = _llvm.PrintModule(module);
                optimized(Marshal.PtrToStringUTF8((nint)printed) ?? "");
                _llvm.DisposeMessage(printed);
            }
            if (isPointless?.Invoke() == true) return null;
            nint made;
            if (_llvm.EmitToMemoryBuffer(_machine, module, ObjectFile, &message, &made) != 0) throw new InvalidOperationException(Take(message));
            try
            {
                return new ElfObject(new ReadOnlySpan<byte>(_llvm.GetBufferStart(made), (int)_llvm.GetBufferSize(made)).ToArray());
            }
            finally
            {
                _llvm.DisposeMemoryBuffer(made);
            }
        }
        finally
        {
            if (module != 0) _llvm.DisposeModule(module);
            _llvm.ContextDispose(context);
        }
    }

    /// <summary>The vector registers that code uses, bit per number; all where it cannot be read.</summary>
    public uint VectorsIn(ReadOnlySpan<byte> code)
    {
        if (_disassembler == 0) return uint.MaxValue;
        uint found = 0;
        const int room = 256;
        byte* text = stackalloc byte[room];
        fixed (byte* bytes = code)
        {
            for (nuint at = 0; at < (nuint)code.Length;)
            {
                nuint length = _llvm.Disassemble(_disassembler, bytes + at, (nuint)code.Length - at, at, text, room);
                if (length == 0) return uint.MaxValue;
                at += length;
                for (int n = 0; text[n] != 0 && n < room - 4; n++)
                {
                    // xmm3, ymm3, zmm3
                    if (text[n] != 'm' || text[n + 1] != 'm' || !char.IsAsciiDigit((char)text[n + 2])) continue;
                    int number = text[n + 2] - '0';
                    if (char.IsAsciiDigit((char)text[n + 3])) number = number * 10 + text[n + 3] - '0';
                    found |= 1u << number;
                }
            }
        }
        return found;
    }

    private string Take(byte* message)
    {
        string text = message == null ? "unknown" : Marshal.PtrToStringUTF8((nint)message) ?? "";
        if (message != null) _llvm.DisposeMessage(message);
        return text;
    }

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text + "\0");

    public void Dispose()
    {
        if (_disassembler != 0) _llvm.DisposeDisassembler(_disassembler);
        _llvm.DisposeTargetMachine(_machine);
    }
}
