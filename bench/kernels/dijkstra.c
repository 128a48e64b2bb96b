/* Shortest paths on a grid with a binary heap: loads through indices, compares. */
#include "kernel.h"
#define W 256
static u8 cost[W * W];
static u32 dist[W * W], heap[W * W * 4], at;
static void push(u32 node, u32 d)
{
    u32 i = at++;
    while (i) {
        u32 up = (i - 1) / 2;
        if (dist[heap[up]] <= d) break;
        heap[i] = heap[up];
        i = up;
    }
    heap[i] = node;
}
static u32 pop(void)
{
    u32 top = heap[0], last = heap[--at], i = 0;
    for (u32 c; (c = 2 * i + 1) < at; i = c) {
        if (c + 1 < at && dist[heap[c + 1]] < dist[heap[c]]) c++;
        if (dist[last] <= dist[heap[c]]) break;
        heap[i] = heap[c];
    }
    heap[i] = last;
    return top;
}
KERNEL(30)
{
    static const int dx[] = {1, -1, 0, 0}, dy[] = {0, 0, 1, -1};
    u64 h = 0;
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < W * W; i++) cost[i] = 1 + rng() % 9, dist[i] = ~0u;
        at = 0;
        dist[0] = 0;
        push(0, 0);
        while (at) {
            u32 n = pop(), x = n % W, y = n / W;
            for (int k = 0; k < 4; k++) {
                u32 nx = x + dx[k], ny = y + dy[k];
                if (nx >= W || ny >= W) continue;
                u32 m = ny * W + nx, d = dist[n] + cost[m];
                if (d < dist[m]) { dist[m] = d; if (at < W * W * 4) push(m, d); }
            }
        }
        h = mix(h, dist[W * W - 1]);
    }
    return h;
}
