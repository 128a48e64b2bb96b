// Writes the inputs of the compute suite into the current directory, always the same bytes: music.wav, picture.ppm, genome.fa, reads.fq, formula.cnf, plan.mod, table.txt.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 88172645463325252ull;

static uint32_t next(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 20) % below);
}

static FILE *create(const char *name)
{
    FILE *f = fopen(name, "wb");
    if (!f) { perror(name); exit(1); }
    return f;
}

static void put(FILE *f, uint32_t v, int bytes)
{
    while (bytes--) { fputc(v & 255, f); v >>= 8; }
}

// Chords of decaying tones with some noise: what audio coders see, more or less.
static void music(int seconds)
{
    FILE *f = create("music.wav");
    int n = 44100 * seconds, tone[6] = { 0 };
    double phase[6] = { 0 }, step[6] = { 0 }, loud[6] = { 0 };
    fputs("RIFF", f); put(f, 36 + n * 4, 4); fputs("WAVEfmt ", f);
    put(f, 16, 4); put(f, 1, 2); put(f, 2, 2); put(f, 44100, 4); put(f, 44100 * 4, 4); put(f, 4, 2); put(f, 16, 2);
    fputs("data", f); put(f, n * 4, 4);
    for (int i = 0; i < n; i++) {
        double l = 0, r = 0;
        for (int t = 0; t < 6; t++) {
            if (tone[t]-- == 0) {
                tone[t] = 4000 + next(20000);
                step[t] = 6.283185307179586 * 110 * pow(2, next(48) / 12.0) / 44100;
                loud[t] = 3000 + next(2000);
            }
            phase[t] += step[t];
            double s = loud[t] * (sin(phase[t]) + 0.3 * sin(2 * phase[t]) + 0.1 * sin(5 * phase[t]));
            loud[t] *= 0.99995;
            l += s * (t + 1) / 7;
            r += s * (6 - t) / 7;
        }
        put(f, (uint16_t)(int)(l + (double)next(200) - 100), 2);
        put(f, (uint16_t)(int)(r + (double)next(200) - 100), 2);
    }
    fclose(f);
}

static void picture(int w, int h)
{
    FILE *f = create("picture.ppm");
    fprintf(f, "P6\n%d %d\n255\n", w, h);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            double u = x * 0.013, v = y * 0.017;
            fputc((int)(127 + 100 * sin(u + sin(v)) + next(20)), f);
            fputc((int)(127 + 100 * sin(v * 1.3 - cos(u)) + next(20)), f);
            fputc((x / 40 + y / 40) & 1 ? 40 + next(30) : 200 + next(30), f);
        }
    fclose(f);
}

static void genome(int bases, int reads)
{
    char *g = malloc(bases + 1);
    for (int i = 0; i < bases; i++) {
        g[i] = "ACGT"[next(4)];
        if (i > 4000 && next(2000) == 0) { // repeats
            int n = 200 + next(800), from = next(i - 1000);
            for (int k = 0; k < n && i + 1 < bases; k++) g[++i] = g[from + k];
        }
    }
    FILE *f = create("genome.fa");
    fputs(">chr1\n", f);
    for (int i = 0; i < bases; i += 60) fprintf(f, "%.*s\n", bases - i < 60 ? bases - i : 60, g + i);
    fclose(f);
    f = create("reads.fq");
    for (int i = 0; i < reads; i++) {
        int at = next(bases - 160);
        char r[151];
        for (int k = 0; k < 150; k++) {
            if (next(300) == 0) at += next(5);
            r[k] = next(50) == 0 ? "ACGT"[next(4)] : g[at + k < bases ? at + k : bases - 1];
        }
        fprintf(f, "@r%d\n%.150s\n+\n", i, r);
        for (int k = 0; k < 150; k++) fputc('I', f);
        fputc('\n', f);
    }
    fclose(f);
    free(g);
}

// Random 3-SAT near the threshold.
static void formula(int variables, int clauses)
{
    FILE *f = create("formula.cnf");
    fprintf(f, "p cnf %d %d\n", variables, clauses);
    for (int i = 0; i < clauses; i++) {
        int a = next(variables) + 1, b, c;
        do b = next(variables) + 1; while (b == a);
        do c = next(variables) + 1; while (c == a || c == b);
        fprintf(f, "%d %d %d 0\n", next(2) ? a : -a, next(2) ? b : -b, next(2) ? c : -c);
    }
    fclose(f);
}

// A plan of production and transport: a linear program with some whole numbers.
static void plan(int plants, int shops, int goods)
{
    FILE *f = create("plan.mod");
    fprintf(f, "set P := 1..%d; set S := 1..%d; set G := 1..%d;\nvar x{P,S,G} >= 0; var open{P} binary;\nparam cost{P,S,G}; param need{S,G}; param room{P}; param fixed{P};\n", plants, shops, goods);
    fputs("minimize total: sum{p in P, s in S, g in G} cost[p,s,g]*x[p,s,g] + sum{p in P} fixed[p]*open[p];\n", f);
    fputs("s.t. meet{s in S, g in G}: sum{p in P} x[p,s,g] >= need[s,g];\ns.t. capacity{p in P}: sum{s in S, g in G} x[p,s,g] <= room[p]*open[p];\nsolve;\ndata;\n", f);
    fputs("param cost :=\n", f);
    for (int p = 1; p <= plants; p++)
        for (int s = 1; s <= shops; s++)
            for (int g = 1; g <= goods; g++) fprintf(f, "%d %d %d %d\n", p, s, g, 10 + next(90));
    fputs(";\nparam need :=\n", f);
    for (int s = 1; s <= shops; s++)
        for (int g = 1; g <= goods; g++) fprintf(f, "%d %d %d\n", s, g, 5 + next(40));
    fputs(";\nparam room :=\n", f);
    for (int p = 1; p <= plants; p++) fprintf(f, "%d %d\n", p, shops * goods * 25 * 4 / plants + next(100));
    fputs(";\nparam fixed :=\n", f);
    for (int p = 1; p <= plants; p++) fprintf(f, "%d %d\n", p, 2000 + next(3000));
    fputs(";\nend;\n", f);
    fclose(f);
}

// Lines of a web server's log.
static void table(int lines)
{
    static const char *const method[] = { "GET", "POST", "PUT" }, *const page[] = { "/index.html", "/img/logo.png", "/api/items", "/api/users/me", "/search?q=vivarium", "/static/app.js" };
    FILE *f = create("table.txt");
    for (int i = 0; i < lines; i++)
        fprintf(f, "10.%d.%d.%d - - [%02d/Nov/2026:%02d:%02d:%02d +0000] \"%s %s/%d HTTP/1.1\" %d %d\n", next(4), next(50), next(250), 1 + next(28), next(24), next(60), next(60),
            method[next(3)], page[next(6)], next(5000), next(20) ? 200 : 404, 100 + next(90000));
    fclose(f);
}

int main(void)
{
    music(110);
    picture(2400, 1800);
    genome(1500000, 16000);
    formula(275, 1165);
    plan(14, 24, 5);
    table(400000);
    return 0;
}
