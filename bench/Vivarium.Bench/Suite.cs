using System.Text.RegularExpressions;

namespace Vivarium.Bench;

/// <summary>Which columns of a row must print the same.</summary>
internal enum Compare
{
    /// <summary>All, the native one too.</summary>
    All,

    /// <summary>The guests among themselves: the native program differs by design (its architecture's code generator, its own paths).</summary>
    Guests,

    /// <summary>None: the output names the machine or the process.</summary>
    None,

    /// <summary>The output is what was measured: nanoseconds per operation.</summary>
    Nanoseconds,

    /// <summary>The program says "ready" and waits: measured is the memory of it and its descendants (PSS), in GB for want of a better unit of time.</summary>
    Memory,
}

/// <summary>One line of the table: the same job, natively and in guests.</summary>
/// <param name="Group">Rows of a group share a geometric mean.</param>
/// <param name="Name">Row name.</param>
/// <param name="Native">Command on the host, or null where there is none.</param>
/// <param name="Guest">The riscv64 program and its arguments (paths as the guest sees them).</param>
/// <param name="Root">Guest root file system, or null for a static program.</param>
/// <param name="Environment">Extra environment of the native command.</param>
/// <param name="Output">Which columns must print the same.</param>
internal sealed record Row(string Group, string Name, IReadOnlyList<string>? Native, IReadOnlyList<string> Guest, string? Root = null,
    IReadOnlyDictionary<string, string>? Environment = null, Compare Output = Compare.All)
{
    /// <summary>The guest starts other programs of its root by name: QEMU needs the stand-ins of bench/system/qemu-exec.c on its PATH.</summary>
    public bool UsesHostExec { get; init; }

    /// <summary>What the program ends with when all is well.</summary>
    public int ExitStatus { get; init; }

    /// <summary>What in the output names times and speeds, and is not compared.</summary>
    public Regex? Measured { get; init; }
}

/// <summary>The suites' rows.</summary>
internal static class Suite
{
    private static readonly string[] Integer = ["sieve", "sha256", "qsort", "switchvm", "hashmap", "lz", "json", "regex", "bigint", "fib", "strings", "mix", "nqueens", "crc32", "dijkstra"];
    private static readonly string[] Floating = ["nbody", "spectral", "mandelbrot", "matmul", "matmulf", "fft", "lu", "raytrace"];
    private static readonly string[] Memory = ["stream", "chase"];
    private static readonly string[] Threads = ["threads"];

    public static IEnumerable<Row> Kernels(string bin)
    {
        foreach (var (group, names) in new[] { ("integer", Integer), ("floating point", Floating), ("memory", Memory), ("threads", Threads) })
            foreach (var name in names)
                yield return new Row(group, name, [Path.Combine(bin, "native", name)], [Path.Combine(bin, "riscv64", name)]);
    }

    /// <summary>The kernels built with -DSTEADY, which print how long their rounds take once everything is translated.</summary>
    public static IEnumerable<Row> Steady(string bin)
    {
        foreach (var (group, names) in new[] { ("integer", Integer), ("floating point", Floating), ("memory", Memory) })
            foreach (var name in names)
                yield return new Row(group, name, [Path.Combine(bin, "native", "steady-" + name)], [Path.Combine(bin, "riscv64", "steady-" + name)], Output: Compare.Nanoseconds);
    }

    private static readonly string[] Calls = ["getppid", "clock", "read", "write", "stat", "open", "mmap", "epoll", "signal"];
    private static readonly string[] Processes = ["fork", "fork-1m", "fork-128m", "exec", "spawn", "thread", "pipe", "futex"];

    /// <summary>Where a command line needs what must stand before a riscv64 program that a guest executes.</summary>
    public const string ExecPrefix = "{exec}";

    /// <summary>The kernel interface: costs of single calls, of processes and threads, of a script and a build, memory of many processes.</summary>
    public static IEnumerable<Row> System(string bin, string? tree, string? nativeTree)
    {
        string native = Path.Combine(bin, "native", "system"), guest = Path.Combine(bin, "riscv64", "system");
        foreach (var (group, names) in new[] { ("system calls", Calls), ("processes", Processes) })
            foreach (var name in names)
                yield return new Row(group, name, [native, name], [guest, name, ExecPrefix], Output: Compare.Nanoseconds);
        if (tree is not null && nativeTree is not null)
        {
            foreach (var name in (string[])["stat", "open"])
                yield return new Row("system calls", name + " in a root", [native, name], ["/bench-jobs/system", name], tree, Output: Compare.Nanoseconds);
            var path = new Dictionary<string, string> { ["PATH"] = nativeTree + "/bench-bin" };
            yield return new Row("shell", "configure", [nativeTree + "/bench-bin/bash", nativeTree + "/bench-jobs/configure.sh"], ["/usr/bin/bash", "/bench-jobs/configure.sh"], tree, path)
            {
                UsesHostExec = true,
            };
            yield return new Row("shell", "make", [nativeTree + "/bench-bin/make", "-C", nativeTree + "/bench-jobs/package", "-s", "-B", "all", "FLAGS="], ["/usr/bin/make", "-C", "/bench-jobs/package", "-s", "-B", "all"], tree, path, Compare.Guests)
            {
                UsesHostExec = true,
            };
        }
        if (tree is not null && nativeTree is not null)
        {
            var path = new Dictionary<string, string> { ["PATH"] = nativeTree + "/bench-bin" };
            // Programs of Debian that wait: shells that have stopped themselves, and sleeps.
            foreach (var (name, script) in new[]
            {
                ("1 bash", "echo ready; kill -STOP $$"),
                ("50 bash", "for i in {2..50}; do bash -c 'x=1; kill -STOP $$' & done; echo ready; kill -STOP $$"),
                ("50 sleep", "for i in {1..50}; do sleep 1000 & done; echo ready; kill -STOP $$"),
            })
                yield return new Row("memory", name, [nativeTree + "/bench-bin/bash", "-c", script], ["/usr/bin/bash", "-c", script], tree, path, Compare.Memory) { UsesHostExec = true };
        }
        foreach (var count in (string[])["1", "50"])
            yield return new Row("memory", count == "1" ? "1 process" : count + " processes", [native, "processes", count], [guest, "processes", count], Output: Compare.Memory);
    }

    public static IEnumerable<Row> StartUp(string samples, string bin, string? tree)
    {
        yield return new Row("start-up", "static hello", [Path.Combine(bin, "native", "hello")], [Path.Combine(samples, "hello")], Output: Compare.None);
        if (tree is not null)
        {
            yield return new Row("start-up", "dynamic true", ["/bin/true"], ["/usr/bin/true"], tree);
            yield return new Row("start-up", "python3 -c pass", null, ["/usr/bin/python3", "-S", "-c", "pass"], tree);
        }
    }

    /// <summary>Programs of Debian packages; the job files stand in <c>/bench-jobs</c> of both trees.</summary>
    public static IEnumerable<Row> Programs(string tree, string nativeTree)
    {
        Row Make(string name, string program, string[] arguments, Compare output = Compare.All, string? nativeProgram = null) =>
            Packaged("programs", tree, nativeTree, name, program, arguments, output, nativeProgram);

        yield return Make("python3", "/usr/bin/python3", ["-S", "/bench-jobs/job.py"]);
        yield return Make("sqlite3", "/usr/bin/sqlite3", [":memory:", ".read /bench-jobs/job.sql"]);
        yield return Make("xz", "/usr/bin/xz", ["-k", "-c", "-3", "-T1", "/bench-jobs/text"], output: Compare.Guests);
        yield return Make("openssl", "/usr/bin/openssl", ["dgst", "-blake2s256", "/bench-jobs/big"], output: Compare.Guests);
        yield return Make("gcc (cc1 -O2)", "/usr/libexec/gcc/riscv64-linux-gnu/14/cc1", ["-quiet", "-O2", "-fpreprocessed", "/bench-jobs/job.i", "-o", "/dev/null"], output: Compare.Guests,
            nativeProgram: "/usr/libexec/gcc/x86_64-linux-gnu/14/cc1");
        yield return Make("perl", "/usr/bin/perl", ["/bench-jobs/job.pl"]);
        yield return Make("lua", "/usr/bin/lua5.4", ["/bench-jobs/job.lua"]);
    }

    /// <summary>A program of a Debian package, in the tree and natively by way of the native tree's own loader and libraries.</summary>
    private static Row Packaged(string group, string tree, string nativeTree, string name, string program, string[] arguments, Compare output, string? nativeProgram = null)
    {
        var lib = Path.Combine(nativeTree, "usr/lib/x86_64-linux-gnu");
        var native = new List<string>
        {
            Path.Combine(lib, "ld-linux-x86-64.so.2"), "--library-path", $"{lib}:{lib}/perl/5.40:{nativeTree}/usr/lib", "--argv0", program, nativeTree + (nativeProgram ?? program),
        };
        native.AddRange(arguments.Select(a => a.Replace("/bench-", nativeTree + "/bench-")));
        var environment = new Dictionary<string, string> { ["PYTHONHOME"] = nativeTree + "/usr" };
        return new Row(group, name, native, [program, .. arguments], tree, environment, output);
    }

    /// <summary>What people compute: jobs of some 5 to 15 seconds of Debian's packages; bench/compute/inputs.c makes their input.</summary>
    public static IEnumerable<Row> Compute(string tree, string nativeTree)
    {
        const string In = "/bench-compute/";
        Row Make(string name, string program, params string[] arguments) => Packaged("compute", tree, nativeTree, name, program, arguments, Compare.Guests);
        Regex times = new(@" (nps|time|hashfull) \d+|\d+\.\d+ secs|Memory used: .*|Time used: .*|Render Date: .*|\+ *\d+: +mip .*", RegexOptions.CultureInvariant);

        yield return Make("zstd -9", "/usr/bin/zstd", "-q", "-c", "-9", "--single-thread", In + "table.txt");
        yield return Make("bzip2", "/usr/bin/bzip2", "-9", "-c", In + "table.txt");
        yield return Make("gzip", "/usr/bin/gzip", "-9", "-c", In + "table.txt");
        yield return Make("gawk", "/usr/bin/gawk", "-f", In + "report.awk", In + "table.txt");
        yield return Make("flac", "/usr/bin/flac", "-s", "-8", "-c", In + "music.wav");
        yield return Make("lame", "/usr/bin/lame", "--quiet", "-q", "2", "-b", "128", In + "music.wav", "-");
        yield return Make("graphicsmagick", "/usr/bin/gm", "convert", In + "picture.ppm", "-blur", "0x8", "-resize", "1300x1000", "-unsharp", "2x1", "-quality", "85", "jpg:-");
        yield return Make("ghostscript", "/usr/bin/gs", "-q", "-dNOPAUSE", "-dBATCH", "-dNOSAFER", "-sDEVICE=ppmraw", "-r300", "-dGraphicsAlphaBits=4", "-dTextAlphaBits=4", "-sOutputFile=%stdout", In + "drawing.ps") with
        {
            Native = null, // its resources lie in the tree
        };
        yield return Make("povray", "/usr/bin/povray", "+I" + In + "scene.pov", "+O-", "+FP", "+W560", "+H420", "+A0.3", "-J", "-D", "+WT1") with
        {
            Measured = times,
            Native = null, // its libraries load others by name
        };
        yield return Make("numpy", "/usr/bin/python3", "-P", In + "linear.py");
        yield return Make("stockfish", "/usr/games/stockfish", "bench", "16", "1", "9") with { Measured = times };
        yield return Make("glpsol", "/usr/bin/glpsol", "-m", In + "plan.mod") with { Measured = times };
        yield return Make("minisat", "/usr/bin/minisat", "-verb=0", In + "formula.cnf", "/dev/stdout") with { ExitStatus = 10 };
        yield return Make("bwa", "/usr/bin/bwa", "mem", "-t", "1", In + "genome.fa", In + "reads.fq");
    }
}
