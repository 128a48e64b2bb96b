namespace Vivarium.Translation.Optimizing;

/// <summary>In which order hot code is compiled.</summary>
public enum JitPolicy
{
    /// <summary>In the order in which it became hot.</summary>
    Fifo,

    /// <summary>The hottest first, as hot as it was when it was queued.</summary>
    HeatAtDispatch,

    /// <summary>What is hottest now first; what has become cold is dropped.</summary>
    Continuous,
}

/// <summary>How the optimising tier works.</summary>
public sealed record OptimizerOptions
{
    public JitPolicy Policy { get; init; } = JitPolicy.Continuous;

    /// <summary>Compiling threads; 0 compiles on the guest's thread at once whatever jumps backwards (for tests).</summary>
    public int Threads { get; init; } = Math.Clamp(Environment.ProcessorCount / 2, 1, 4);

    /// <summary>Host processors that the sampler and the compiling threads run on; empty for all that the process may use.</summary>
    public IReadOnlyList<int> Processors { get; init; } = [];

    /// <summary>The compilers have no processor but the guest's own: what they take is the guest's loss.</summary>
    private static bool OnOneProcessor => Environment.ProcessorCount == 1;

    // Where there are other processors: WarmUp, CompileGrant, CompileShare.
    private const int UsualWarmUp = 400, UsualGrant = 250;
    private const double UsualShare = 0.1;

    /// <summary>As if there were several processors: where the compilers are put on others than the guest's.</summary>
    public OptimizerOptions WithProcessors(IReadOnlyList<int> processors) =>
        processors.Count == 0 ? this : this with { Processors = processors, WarmUp = UsualWarmUp, CompileGrant = UsualGrant, CompileShare = UsualShare };

    /// <summary>Samples of one block that make it hot, where each stands for a millisecond.</summary>
    public int Threshold { get; init; } = 12;

    /// <summary>
    /// Milliseconds that the guest runs before anything is compiled: short programs do without LLVM, whose loading costs some 30 ms. 0: compile from the
    /// start, sample as often as can be, and spend what it takes (for tests and measurements).
    /// </summary>
    public int WarmUp { get; init; } = OnOneProcessor ? 2000 : UsualWarmUp;

    /// <summary>Milliseconds that compilation has beyond its share: for LLVM's loading and the hottest few loops. Without it a loop of ten seconds' work waited
    /// half of them for the share to grow.</summary>
    public int CompileGrant { get; init; } = OnOneProcessor ? 0 : UsualGrant;

    /// <summary>Compilation has at most this share of the processor time that the guest has had so far, and a grant: compilers take execution units, caches and the
    /// process's memory lock from it.</summary>
    public double CompileShare { get; init; } = OnOneProcessor ? 0.02 : UsualShare;

    /// <summary>Time between samples while there is something to find out.</summary>
    public int SampleMilliseconds { get; init; } = 1;

    /// <summary>Time between samples while a trial runs. Each costs some 40 us on a virtual machine; with one a millisecond programs that have trials most of the time lost
    /// 2 % more.</summary>
    public int TrialSampleMilliseconds { get; init; } = 2;

    /// <summary>Time between samples where nothing new has been found for a while: a sample interrupts the guest.</summary>
    public int RareSampleMilliseconds { get; init; } = 8;

    /// <summary>Compare new regions with tier 1, and keep what is faster.</summary>
    public bool Trials { get; init; } = true;

    /// <summary>LLVM's passes.</summary>
    public string Pipeline { get; init; } = "default<O2>";

    /// <summary>Where dumps of regions whose head lies in [DumpStart, DumpEnd) go; null for none.</summary>
    public Action<string>? DumpSink { get; init; }
    public ulong DumpStart { get; init; }
    public ulong DumpEnd { get; init; } = ulong.MaxValue;
    public bool DumpRegion { get; init; }
    public bool DumpLlvm { get; init; }

    /// <summary>Dump machine code, in this form; null dumps none.</summary>
    public DisassembleCode? Disassemble { get; init; }
}
