using System.Globalization;
using System.Text;

namespace Vivarium.Bench;

/// <summary>
/// A C program whose hot code changes. Each phase first runs many loops a little (as programs build and convert what they are going to work on), then a few of
/// them, its core, takes most of the time. Loops are of four kinds, which gain differently when they are optimised: arrays of doubles, arrays of 32-bit integers,
/// 32-bit ciphers in registers, and chains of floating point. Most are of the first two kinds, which LLVM makes several times faster: tier 1 leaves little to gain for
/// the others, whatever the order is in which they are compiled.
/// </summary>
/// <param name="Name">Row name.</param>
/// <param name="Loops">How many different loops there are.</param>
/// <param name="Core">How many of them are a phase's core.</param>
/// <param name="Others">How many others each phase runs as well.</param>
/// <param name="Share">The core's share of the work outside of the opening, in percent.</param>
/// <param name="Phases">How many phases there are.</param>
/// <param name="Work">Each phase's work, in milliseconds of the plain translation on the machine that this was written on.</param>
/// <param name="Opening">How much of that goes to the others before the core begins, in percent.</param>
/// <param name="Statements">How large loops are, at most.</param>
/// <param name="Shift">How many of the core the next phase replaces; 0 draws a new core.</param>
internal sealed record PhaseProgram(string Name, int Loops, int Core, int Others, int Share, int Phases, int Work, int Opening = 0, int Statements = 24, int Shift = 0)
{
    /// <summary>Programs that differ in how much is hot at a time, how unevenly, and in how fast that changes.</summary>
    public static readonly PhaseProgram[] All =
    [
        new("few loops", 12, 4, 0, 100, 4, 800),
        new("all alike", 100, 100, 0, 100, 1, 3500),
        new("opening and core", 200, 6, 80, 90, 3, 1200, Opening: 25),
        new("large loops", 120, 5, 50, 90, 3, 1200, Opening: 25, Statements: 60),
        new("small loops", 250, 8, 120, 85, 3, 1200, Opening: 25, Statements: 8),
        new("shifting core", 200, 8, 60, 80, 8, 450, Opening: 15, Shift: 3),
        new("short phases", 200, 5, 40, 90, 9, 400, Opening: 25),
        new("one core, many openings", 250, 6, 60, 85, 6, 600, Opening: 40, Shift: -1),
    ];

    public string Source()
    {
        var random = new Random(Name.Sum(c => c) * 7919);
        var text = new StringBuilder("""
            #include <stdint.h>
            #include <stdio.h>
            #include <time.h>
            typedef uint32_t u32;
            typedef uint64_t u64;
            static double p[8][2048];
            static u32 q[8][2048];
            static u64 work;

            """);
        for (int f = 0; f < Loops; f++) Loop(text, f, random, random.Next(Math.Max(4, Statements / 3), Statements + 1));
        text.Append(CultureInfo.InvariantCulture, $"static u64 (*const loops[])(int) = {{{string.Join(", ", Enumerable.Range(0, Loops).Select(f => $"f{f}"))}}};\n");
        text.Append("static const struct { int opening, steps, core, others; short set[256]; } phases[] = {\n");
        int[] core = Draw(Core, []);
        // A step of the core runs each of its loops once for 1000 units of work, and the others over as many as their share takes; a step of the opening the others alone.
        double each = Core * 1000.0 * (100 - Share) / Share / Math.Max(1, Others);
        const double PerMillisecond = 120_000; // units of work: a loop does about as much for each, however large it is
        double stepWork = Core * 1000.0 * 100 / Share;
        for (int p = 0; p < Phases; p++)
        {
            int[] others = Draw(Others, core);
            int steps = (int)(Work * PerMillisecond * (100 - Opening) / 100 / stepWork), opening = Others == 0 ? 0 : (int)(Work * PerMillisecond * Opening / 100 / Others / 200);
            text.Append(CultureInfo.InvariantCulture, $"    {{{opening}, {steps}, {core.Length}, {others.Length}, {{{string.Join(", ", core.Concat(others))}}}}},\n");
            if (Shift == 0) core = Draw(Core, []);
            for (int s = 0; s < Shift; s++) core[random.Next(core.Length)] = Draw(1, core)[0];
        }
        // Progress every 5 ms: time since the start, and units of work so far.
        text.Append(CultureInfo.InvariantCulture, $$"""
            };
            static long long start, next;
            static long long now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ll + t.tv_nsec; }
            static void tell(void)
            {
                long long t = now();
                if (t < next) return;
                fprintf(stderr, "@%lld %llu\n", t - start, (unsigned long long)work);
                next = t + 5000000;
            }
            int main(void)
            {
                u64 x = 1;
                for (int k = 0; k < 8; k++)
                    for (int i = 0; i < 2048; i++) {
                        p[k][i] = (i * (k + 3) % 61) / 64.0;
                        q[k][i] = i * 2654435761u + k;
                    }
                start = next = now();
                for (unsigned n = 0; n < sizeof phases / sizeof *phases; n++) {
                    for (int s = 0; s < phases[n].opening; s++) {
                        for (int i = 0; i < phases[n].others; i++) x = x * 31 + loops[phases[n].set[phases[n].core + i]](200);
                        work += phases[n].others * 200;
                        tell();
                    }
                    for (int s = 0; s < phases[n].steps; s++) {
                        for (int i = 0; i < phases[n].core; i++) x = x * 31 + loops[phases[n].set[i]](1000);
                        for (int i = 0; i < phases[n].others; i++) x = x * 31 + loops[phases[n].set[phases[n].core + i]]({{(int)each}});
                        work += phases[n].core * 1000 + phases[n].others * {{(int)each}};
                        tell();
                    }
                }
                next = 0;
                tell();
                printf("%016llx\n", (unsigned long long)x);
                return 0;
            }

            """);
        return text.ToString();

        int[] Draw(int count, int[] not) => [.. Enumerable.Range(0, Loops).Where(f => !not.Contains(f)).OrderBy(_ => random.Next()).Take(count)];
    }

    private static void Loop(StringBuilder text, int number, Random random, int statements)
    {
        int kind = random.Next(10) switch { < 4 => 0, < 8 => 1, 8 => 2, _ => 3 }, from = random.Next(8), to = (from + 1 + random.Next(7)) % 8;
        text.Append(CultureInfo.InvariantCulture, $"static __attribute__((noinline)) u64 f{number}(int n)\n{{\n    {kind switch
        {
            0 => "double t = 0, v = 0;", 1 => "u32 t = 0, v = 0;", 2 => "u32 t = 1, v = 2, w = 3, z = 4;", _ => "double t = 0.5, v = 0.25, w = 0.125;",
        }}\n    n = n * {Math.Clamp((int)(1000 * 12 / (statements * (kind == 0 ? 1.1 : kind == 1 ? 0.6 : kind == 2 ? 1.2 : 2.6))), 100, 2000)} >> 10;\n    for (int i = 0; i < n; i++) {{\n");
        if (kind == 0) text.Append(CultureInfo.InvariantCulture, $"        t = p[{from}][i]; v = p[{to}][i];\n");
        if (kind == 1) text.Append(CultureInfo.InvariantCulture, $"        t = q[{from}][i]; v = q[{to}][i];\n");
        if (kind == 2) text.Append(CultureInfo.InvariantCulture, $"        z ^= q[{from}][i];\n");
        if (kind == 3) text.Append(CultureInfo.InvariantCulture, $"        v = v * 0.25 + p[{from}][i];\n");
        for (int s = 0; s < statements; s++)
        {
            int shift = random.Next(1, 31);
            string half = FormattableString.Invariant($"{random.Next(1, 50) / 100.0:F2}");
            text.Append(CultureInfo.InvariantCulture, $"        {(kind, random.Next(4)) switch
            {
                (0, 0) => $"t = t * {half} + v * 0.5;", (0, 1) => $"v = v * {half} - t * 0.25;", (0, 2) => $"t = t * v + {half};", (0, _) => $"v = (t - v) * {half};",
                (1, 0) => $"t = t * {random.Next() | 1}u + v;", (1, 1) => $"v ^= t >> {shift};", (1, 2) => $"t = (t << {shift}) - v;", (1, _) => $"v += t ^ {random.Next()}u;",
                (2, 0) => $"t += v; z = (z ^ t) << {shift} | (z ^ t) >> {32 - shift};", (2, 1) => $"v = (v << {shift} | v >> {32 - shift}) + w;", (2, 2) => $"w += z; t = (t ^ w) * {random.Next() | 1}u;", (2, _) => $"z -= v ^ {random.Next()}u;",
                (3, 0) => $"t = t * v + {half};", (3, 1) => $"w = w * 0.5 + t * {half};", (3, 2) => $"v = (v + w) * {half};", _ => $"t = (t - w) * 0.5;",
            }}\n");
        }
        if (kind == 0) text.Append(CultureInfo.InvariantCulture, $"        p[{to}][i] = (t + v) * 0.125;\n");
        if (kind == 1) text.Append(CultureInfo.InvariantCulture, $"        q[{to}][i] = t + v;\n");
        text.Append(CultureInfo.InvariantCulture, $"    }}\n    return {kind switch { 0 => $"(u64)(p[{to}][n / 2] * 1e6)", 1 => $"q[{to}][n / 2]", 2 => "t ^ v ^ w ^ z", _ => "(u64)((t + v + w) * 1e6)" }};\n}}\n");
    }
}
