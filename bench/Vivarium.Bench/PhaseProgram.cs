using System.Globalization;
using System.Text;

namespace Vivarium.Bench;

/// <summary>A C program whose hot code changes: each phase calls its own set of generated loops again and again.</summary>
/// <param name="Name">Row name.</param>
/// <param name="Functions">How many different loops there are.</param>
/// <param name="Active">How many of them a phase calls.</param>
/// <param name="Phases">How many phases there are.</param>
/// <param name="Steps">Rounds over the active loops in each.</param>
/// <param name="Shift">How many of the active loops the next phase replaces; 0 draws a new set every time.</param>
/// <param name="Bursts">Every second phase is a twentieth as long, with loops that are never called again.</param>
internal sealed record PhaseProgram(string Name, int Functions, int Active, int Phases, int Steps, int Shift = 0, bool Bursts = false)
{
    /// <summary>Programs that differ in how much is hot at a time, and in how fast that changes.</summary>
    public static readonly PhaseProgram[] All =
    [
        new("few", 12, 4, 6, 6000), new("many", 96, 48, 4, 700), new("all at once", 120, 120, 1, 900), new("shifting", 96, 24, 16, 350, Shift: 8),
        new("fast shifting", 160, 32, 32, 120, Shift: 16), new("bursts", 160, 16, 24, 900, Bursts: true), new("wide bursts", 240, 24, 20, 500, Bursts: true), new("short phases", 200, 40, 60, 60),
    ];

    public string Source()
    {
        var random = new Random(Name.Sum(c => c) * 7919);
        var text = new StringBuilder("#include <stdint.h>\n#include <stdio.h>\n#include <time.h>\ntypedef uint64_t u64;\nstatic u64 a[256];\nstatic u64 work;\n");
        for (int f = 0; f < Functions; f++)
        {
            text.Append(CultureInfo.InvariantCulture, $"static __attribute__((noinline)) u64 f{f}(u64 x, int n)\n{{\n    u64 y = {random.Next()}u, z = x;\n    for (int i = 0; i < n; i++) {{\n");
            for (int s = 0, count = random.Next(5, 18); s < count; s++)
            {
                int shift = random.Next(1, 31), index = random.Next(256);
                text.Append(CultureInfo.InvariantCulture, $"        {random.Next(7) switch
                {
                    0 => $"x += y >> {shift};", 1 => $"y ^= x << {shift};", 2 => $"z = z * {random.Next() | 1}u + x;", 3 => $"x += a[(i + {index}) & 255];",
                    4 => $"a[(i * 3 + {index}) & 255] ^= z;", 5 => $"if (y & {1 << random.Next(12)}) z -= x; else y += z;", _ => $"y = (y >> {shift} | y << {64 - shift}) + z;",
                }}\n");
            }
            text.Append("    }\n    return x ^ y ^ z;\n}\n");
        }
        text.Append(CultureInfo.InvariantCulture, $"static u64 (*const functions[])(u64, int) = {{{string.Join(", ", Enumerable.Range(0, Functions).Select(f => $"f{f}"))}}};\n");
        text.Append("static const struct { int steps, count; short active[256]; } phases[] = {\n");
        var active = Draw(Active);
        for (int p = 0; p < Phases; p++)
        {
            bool burst = Bursts && (p & 1) != 0;
            int[] set = burst ? Draw(Math.Min(Functions, Active * 2)) : active;
            text.Append(CultureInfo.InvariantCulture, $"    {{{(burst ? Math.Max(1, Steps / 20) : Steps)}, {set.Length}, {{{string.Join(", ", set)}}}}},\n");
            if (Shift == 0) active = burst || !Bursts ? Draw(Active) : active;
            else for (int s = 0; s < Shift; s++) active[random.Next(active.Length)] = random.Next(Functions);
        }
        // Progress every 5 ms: time since the start, and loops run so far.
        text.Append("""
            };
            static long long now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ll + t.tv_nsec; }
            int main(void)
            {
                u64 x = 1;
                long long start = now(), next = start;
                for (unsigned p = 0; p < sizeof phases / sizeof *phases; p++)
                    for (int s = 0; s < phases[p].steps; s++) {
                        for (int i = 0; i < phases[p].count; i++) { x += functions[phases[p].active[i]](x, 200); work++; }
                        long long t = now();
                        if (t >= next) { fprintf(stderr, "@%lld %llu\n", t - start, (unsigned long long)work); next = t + 5000000; }
                    }
                fprintf(stderr, "@%lld %llu\n", now() - start, (unsigned long long)work);
                printf("%016llx\n", (unsigned long long)x);
                return 0;
            }

            """);
        return text.ToString();

        int[] Draw(int count) => [.. Enumerable.Range(0, Functions).OrderBy(_ => random.Next()).Take(count)];
    }
}
