using System.Runtime.InteropServices;

namespace Vivarium.Translation.Optimizing.Llvm;

/// <summary>
/// The part of LLVM's C API that the optimising tier uses, as function pointers of the shared library. Handles are opaque pointers; an
/// <c>int</c> result is LLVM's bool (0 is false, which means success where a function can fail). Everything may be called from several threads
/// as long as each context, and what was made in it, stays with one at a time.
/// </summary>
internal sealed unsafe class LlvmLibrary
{
    private const int Version = 19;
    private static readonly string[] Names = ["libLLVM.so.19.1", "libLLVM-19.so.1", "libLLVM-19.so"];
    private static readonly string[] Directories = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/llvm-19/lib", "/usr/local/lib", "/lib/x86_64-linux-gnu"];
    private static readonly Lazy<(LlvmLibrary? Library, string Problem)> Loaded = new(Load);
    private static readonly Lazy<FileInfo?> Found = new(Find);

    private readonly nint _handle;
    private static int s_compiling, s_ending;

    /// <summary>Call before using LLVM; false when the process ends.</summary>
    public static bool Enter()
    {
        Interlocked.Increment(ref s_compiling);
        if (Volatile.Read(ref s_ending) == 0) return true;
        Leave();
        return false;
    }

    public static void Leave() => Interlocked.Decrement(ref s_compiling);

    /// <summary>From now on nobody begins to use LLVM. Whether it is loaded or being loaded: then the process must not run the library's destructors, under
    /// which its threads would fall.</summary>
    public static bool IsLoadedAtEnd()
    {
        Interlocked.Exchange(ref s_ending, 1);
        return Volatile.Read(ref s_compiling) != 0 || Loaded.IsValueCreated;
    }

    /// <summary>Whether the library seems to be there; nothing is loaded where a look at the usual directories says so.</summary>
    public static bool IsThere(out string problem)
    {
        problem = "";
        return Found.Value != null || TryGet(out problem) != null;
    }

    /// <summary>Whether using it costs no loading any more.</summary>
    public static bool IsLoaded => Loaded.IsValueCreated;

    /// <summary>Tells installations of the library apart, by what a look at its file says; 0 where it was not found that way.</summary>
    public static ulong Identity
    {
        get
        {
            if (Found.Value is not { } file) return 0;
            try
            {
                return (ulong)file.Length * 0x9E3779B97F4A7C15 ^ (ulong)file.LastWriteTimeUtc.Ticks;
            }
            catch (IOException)
            {
                return 0;
            }
        }
    }

    private static FileInfo? Find()
    {
        foreach (string directory in Directories)
        {
            string path = Path.Combine(directory, Names[0]);
            if (File.Exists(path)) return new FileInfo(path);
        }
        return null;
    }

    public readonly delegate* unmanaged<nint> ContextCreate;
    public readonly delegate* unmanaged<nint, void> ContextDispose;

    /// <summary>(data, length, name) -> memory buffer, which copies the data.</summary>
    public readonly delegate* unmanaged<byte*, nuint, byte*, nint> CreateMemoryBuffer;
    public readonly delegate* unmanaged<nint, byte*> GetBufferStart;
    public readonly delegate* unmanaged<nint, nuint> GetBufferSize;
    public readonly delegate* unmanaged<nint, void> DisposeMemoryBuffer;

    /// <summary>(context, buffer, out module, out message); takes the buffer over.</summary>
    public readonly delegate* unmanaged<nint, nint, nint*, byte**, int> ParseIr;
    public readonly delegate* unmanaged<nint, void> DisposeModule;
    public readonly delegate* unmanaged<nint, byte*> PrintModule;
    public readonly delegate* unmanaged<byte*, void> DisposeMessage;

    /// <summary>(triple, out target, out message).</summary>
    public readonly delegate* unmanaged<byte*, nint*, byte**, int> GetTargetFromTriple;

    /// <summary>(target, triple, cpu, features, optimisation level, relocation model, code model).</summary>
    public readonly delegate* unmanaged<nint, byte*, byte*, byte*, int, int, int, nint> CreateTargetMachine;
    public readonly delegate* unmanaged<nint, void> DisposeTargetMachine;

    /// <summary>(machine, module, file type, out message, out buffer).</summary>
    public readonly delegate* unmanaged<nint, nint, int, byte**, nint*, int> EmitToMemoryBuffer;

    public readonly delegate* unmanaged<nint> CreatePassBuilderOptions;
    public readonly delegate* unmanaged<nint, void> DisposePassBuilderOptions;

    /// <summary>(options, whether to look for vectors in straight code).</summary>
    public readonly delegate* unmanaged<nint, int, void> SetSlpVectorization;

    /// <summary>(module, pipeline, machine, options) -> error or 0.</summary>
    public readonly delegate* unmanaged<nint, byte*, nint, nint, nint> RunPasses;

    /// <summary>Consumes the error; the text is freed by <see cref="DisposeErrorMessage"/>.</summary>
    public readonly delegate* unmanaged<nint, byte*> GetErrorMessage;
    public readonly delegate* unmanaged<byte*, void> DisposeErrorMessage;
    public readonly delegate* unmanaged<byte*> GetHostCpuName;

    /// <summary>(triple, cpu, features, user data, kind of it, two callbacks) -> disassembler.</summary>
    public readonly delegate* unmanaged<byte*, byte*, byte*, nint, int, nint, nint, nint> CreateDisassembler;

    /// <summary>(disassembler, code, bytes of it, its address, text, room for that) -> bytes of the instruction, 0 where it is none.</summary>
    public readonly delegate* unmanaged<nint, byte*, ulong, ulong, byte*, nuint, nuint> Disassemble;
    public readonly delegate* unmanaged<nint, void> DisposeDisassembler;

    private LlvmLibrary(nint handle)
    {
        _handle = handle;
        uint major, minor, patch;
        ((delegate* unmanaged<uint*, uint*, uint*, void>)Export("LLVMGetVersion"))(&major, &minor, &patch);
        if (major != Version) throw new EntryPointNotFoundException($"it is version {major}.{minor}.{patch}, not {Version}");
        ContextCreate = (delegate* unmanaged<nint>)Export("LLVMContextCreate");
        ContextDispose = (delegate* unmanaged<nint, void>)Export("LLVMContextDispose");
        CreateMemoryBuffer = (delegate* unmanaged<byte*, nuint, byte*, nint>)Export("LLVMCreateMemoryBufferWithMemoryRangeCopy");
        GetBufferStart = (delegate* unmanaged<nint, byte*>)Export("LLVMGetBufferStart");
        GetBufferSize = (delegate* unmanaged<nint, nuint>)Export("LLVMGetBufferSize");
        DisposeMemoryBuffer = (delegate* unmanaged<nint, void>)Export("LLVMDisposeMemoryBuffer");
        ParseIr = (delegate* unmanaged<nint, nint, nint*, byte**, int>)Export("LLVMParseIRInContext");
        DisposeModule = (delegate* unmanaged<nint, void>)Export("LLVMDisposeModule");
        PrintModule = (delegate* unmanaged<nint, byte*>)Export("LLVMPrintModuleToString");
        DisposeMessage = (delegate* unmanaged<byte*, void>)Export("LLVMDisposeMessage");
        GetTargetFromTriple = (delegate* unmanaged<byte*, nint*, byte**, int>)Export("LLVMGetTargetFromTriple");
        CreateTargetMachine = (delegate* unmanaged<nint, byte*, byte*, byte*, int, int, int, nint>)Export("LLVMCreateTargetMachine");
        DisposeTargetMachine = (delegate* unmanaged<nint, void>)Export("LLVMDisposeTargetMachine");
        EmitToMemoryBuffer = (delegate* unmanaged<nint, nint, int, byte**, nint*, int>)Export("LLVMTargetMachineEmitToMemoryBuffer");
        CreatePassBuilderOptions = (delegate* unmanaged<nint>)Export("LLVMCreatePassBuilderOptions");
        SetSlpVectorization = (delegate* unmanaged<nint, int, void>)Export("LLVMPassBuilderOptionsSetSLPVectorization");
        DisposePassBuilderOptions = (delegate* unmanaged<nint, void>)Export("LLVMDisposePassBuilderOptions");
        RunPasses = (delegate* unmanaged<nint, byte*, nint, nint, nint>)Export("LLVMRunPasses");
        GetErrorMessage = (delegate* unmanaged<nint, byte*>)Export("LLVMGetErrorMessage");
        DisposeErrorMessage = (delegate* unmanaged<byte*, void>)Export("LLVMDisposeErrorMessage");
        GetHostCpuName = (delegate* unmanaged<byte*>)Export("LLVMGetHostCPUName");

        CreateDisassembler = (delegate* unmanaged<byte*, byte*, byte*, nint, int, nint, nint, nint>)Export("LLVMCreateDisasmCPUFeatures");
        Disassemble = (delegate* unmanaged<nint, byte*, ulong, ulong, byte*, nuint, nuint>)Export("LLVMDisasmInstruction");
        DisposeDisassembler = (delegate* unmanaged<nint, void>)Export("LLVMDisasmDispose");

        foreach (string part in (string[])["TargetInfo", "Target", "TargetMC", "AsmPrinter", "AsmParser", "Disassembler"])
            ((delegate* unmanaged<void>)Export("LLVMInitializeX86" + part))();
        SetOptions();
    }

    /// <summary>The library, loaded at first use; null where it is absent or of another version, and then why.</summary>
    public static LlvmLibrary? TryGet(out string problem)
    {
        (LlvmLibrary? library, problem) = Loaded.Value;
        return library;
    }

    private static (LlvmLibrary?, string) Load()
    {
        foreach (string name in Names)
        {
            if (!NativeLibrary.TryLoad(name, out nint handle)) continue;
            try
            {
                return (new LlvmLibrary(handle), "");
            }
            catch (EntryPointNotFoundException e)
            {
                return (null, $"cannot use {name}: {e.Message}");
            }
        }
        return (null, $"cannot find {Names[0]} (Debian package libllvm19)");
    }

    private nint Export(string name) =>
        NativeLibrary.TryGetExport(_handle, name, out nint address) ? address : throw new EntryPointNotFoundException($"it has no {name}");

    /// <summary>Process-wide options of LLVM. The fault handler finds the context by the frame pointer, so no access may be moved in front of
    /// the prologue. Targets of a guest's jump are some dozen bytes apart: tables with many holes are still better than comparisons one after the other. A loop over several arrays, each through
    /// several pointers (unrolled by the guest's compiler), needs more than eight comparisons of pointers to be vectorised. VIV_LLVM_OPTIONS adds others, for experiments.</summary>
    private void SetOptions()
    {
        var parse = (delegate* unmanaged<int, byte**, byte*, void>)Export("LLVMParseCommandLineOptions");
        string more = Environment.GetEnvironmentVariable("VIV_LLVM_OPTIONS") ?? "";
        string[] options = ["viv", "-enable-shrink-wrap=false", "-jump-table-density=3", "-runtime-memory-check-threshold=64", "-tail-dup-pred-size=512", "-tail-dup-succ-size=512", .. more.Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        byte** arguments = stackalloc byte*[options.Length];
        for (int i = 0; i < options.Length; i++) arguments[i] = (byte*)Marshal.StringToCoTaskMemUTF8(options[i]); // LLVM keeps them
        parse(options.Length, arguments, null);
    }
}
