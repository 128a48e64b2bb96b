/* Backtracking regular expressions over text (Pike's matcher, with classes): recursion and byte compares. */
#include "kernel.h"
static int here(const char *re, const char *s);
static int one(const char *re, int c, int *width)
{
    if (*re == '[') {
        const char *e = strchr(re, ']');
        int hit = 0;
        for (const char *q = re + 1; q < e; q++) {
            if (q[1] == '-' && q + 2 < e) { if (c >= q[0] && c <= q[2]) hit = 1; q += 2; }
            else if (*q == c) hit = 1;
        }
        *width = (int)(e - re) + 1;
        return c && hit;
    }
    *width = 1;
    return c && (*re == '.' || *re == c);
}
static int star(const char *re, int w, const char *rest, const char *s)
{
    const char *t = s;
    int ww;
    (void)w;
    while (*t && one(re, *t, &ww)) t++;
    do if (here(rest, t)) return 1; while (t-- > s);
    return 0;
}
static int here(const char *re, const char *s)
{
    if (!*re) return 1;
    if (*re == '$' && !re[1]) return !*s;
    int w, m = one(re, *s, &w);
    if (re[w] == '*') return star(re, w, re + w + 1, s);
    if (re[w] == '+') return m && star(re, w, re + w + 1, s + 1);
    return m && here(re + w, s + 1);
}
static int match(const char *re, const char *s)
{
    if (*re == '^') return here(re + 1, s);
    do if (here(re, s)) return 1; while (*s++);
    return 0;
}
static char lines[3000][64];
KERNEL(25)
{
    static const char *res[] = {"^[a-z]+ [0-9]+$", "[aeiou][aeiou]", "ab*c", "x.*y.*z", "[0-9][0-9]*[a-f]+9", "q[^x]*", "end$"};
    for (int i = 0; i < 3000; i++) {
        int n = 20 + rng() % 40;
        for (int j = 0; j < n; j++) { u64 x = rng() % 40; lines[i][j] = x < 26 ? 'a' + x : x < 36 ? '0' + x - 26 : ' '; }
        lines[i][n] = 0;
    }
    u64 h = 0;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < 3000; i++)
            for (int k = 0; k < 7; k++) h = h * 31 + match(res[k], lines[i]);
    return h;
}
