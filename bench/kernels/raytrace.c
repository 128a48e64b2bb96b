/* Spheres with shadows and one reflection: structure arithmetic, branches on floating point. */
#define STEADY_ROUNDS(n) 40, 90 /* the time is not proportional to the rounds */
#include "kernel.h"
typedef struct { double x, y, z; } vec;
typedef struct { vec c; double r, shine; } sphere;
static sphere s[12];
static vec add(vec a, vec b) { return (vec){a.x + b.x, a.y + b.y, a.z + b.z}; }
static vec sub(vec a, vec b) { return (vec){a.x - b.x, a.y - b.y, a.z - b.z}; }
static vec mul(vec a, double k) { return (vec){a.x * k, a.y * k, a.z * k}; }
static double dot(vec a, vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static vec unit(vec a) { return mul(a, 1 / __builtin_sqrt(dot(a, a))); }
static int hit(vec o, vec d, double *t)
{
    int best = -1;
    for (int i = 0; i < 12; i++) {
        vec oc = sub(o, s[i].c);
        double b = dot(oc, d), q = b * b - dot(oc, oc) + s[i].r * s[i].r;
        if (q <= 0) continue;
        double u = -b - __builtin_sqrt(q);
        if (u > 1e-4 && u < *t) { *t = u; best = i; }
    }
    return best;
}
static double trace(vec o, vec d, int depth)
{
    double t = 1e9;
    int i = hit(o, d, &t);
    if (i < 0) return 0.2 + 0.3 * (d.y > 0 ? d.y : 0);
    vec p = add(o, mul(d, t)), n = unit(sub(p, s[i].c)), l = unit((vec){0.5, 1, -0.6});
    double u = 1e9, light = dot(n, l);
    double c = light > 0 && hit(p, l, &u) < 0 ? 0.1 + 0.8 * light : 0.1;
    if (depth) c += s[i].shine * trace(p, sub(d, mul(n, 2 * dot(d, n))), depth - 1);
    return c;
}
KERNEL(700)
{
    for (int i = 0; i < 12; i++) s[i] = (sphere){{(i % 4) * 2.0 - 3, (i / 4) * 1.6 - 1.5, 6 + (i * 5 % 7)}, 0.9, 0.1 * (i % 5)};
    double sum = 0;
    for (long y = 0; y < rounds; y++)
        for (long x = 0; x < rounds; x++)
            sum += trace((vec){0, 0, -2}, unit((vec){(double)(x - rounds / 2) / rounds, (double)(y - rounds / 2) / rounds, 1}), 3);
    return digits(sum) / 10;
}
