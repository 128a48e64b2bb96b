/* A mix in the manner of CoreMark: linked lists, a small matrix, a state machine, CRC. */
#include "kernel.h"
typedef struct item { struct item *next; int value, index; } item;
static item items[600];
static u16 crc16(u16 crc, u16 v)
{
    for (int i = 0; i < 16; i++) {
        int x = (crc ^ v) & 1;
        crc >>= 1;
        v >>= 1;
        if (x) crc ^= 0xa001;
    }
    return crc;
}
static item *merge_sort(item *list, int by_index)
{
    for (int size = 1;; size *= 2) {
        item *p = list, *tail = 0;
        int merges = 0;
        list = 0;
        while (p) {
            item *q = p;
            int ps = 0, qs = size;
            merges++;
            for (int i = 0; i < size && q; i++) { ps++; q = q->next; }
            while (ps > 0 || (qs > 0 && q)) {
                item *e;
                if (ps == 0) { e = q; q = q->next; qs--; }
                else if (qs == 0 || !q) { e = p; p = p->next; ps--; }
                else if (by_index ? p->index <= q->index : p->value <= q->value) { e = p; p = p->next; ps--; }
                else { e = q; q = q->next; qs--; }
                if (tail) tail->next = e; else list = e;
                tail = e;
            }
            p = q;
        }
        tail->next = 0;
        if (merges <= 1) return list;
    }
}
static int state(const char *s, u32 counts[8])
{
    int st = 0;
    for (; *s; s++) {
        switch (st) {
        case 0: st = *s >= '0' && *s <= '9' ? 1 : *s == '-' || *s == '+' ? 2 : *s == '.' ? 3 : 7; break;
        case 1: st = *s == '.' ? 3 : *s == 'e' ? 4 : *s == ',' ? 0 : *s >= '0' && *s <= '9' ? 1 : 7; break;
        case 2: st = *s >= '0' && *s <= '9' ? 1 : *s == '.' ? 3 : 7; break;
        case 3: st = *s == 'e' ? 4 : *s == ',' ? 0 : *s >= '0' && *s <= '9' ? 3 : 7; break;
        case 4: st = *s == '-' || *s == '+' ? 5 : 7; break;
        case 5: st = *s >= '0' && *s <= '9' ? 6 : 7; break;
        case 6: st = *s == ',' ? 0 : *s >= '0' && *s <= '9' ? 6 : 7; break;
        default: st = *s == ',' ? 0 : 7;
        }
        counts[st]++;
    }
    return st;
}
KERNEL(1200)
{
    static short m[24][24], n[24][24];
    static int r[24][24];
    u16 crc = 0xffff;
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < 600; i++) { items[i].value = rng() & 0x7fff; items[i].index = i; items[i].next = i < 599 ? &items[i + 1] : 0; }
        item *l = merge_sort(items, 0);
        for (item *e = l; e; e = e->next) crc = crc16(crc, e->value);
        l = merge_sort(l, 1);
        crc = crc16(crc, l->value);
        for (int i = 0; i < 24; i++) for (int j = 0; j < 24; j++) { m[i][j] = (short)(i * j + round); n[i][j] = (short)(i + j * round); }
        for (int i = 0; i < 24; i++)
            for (int j = 0; j < 24; j++) {
                int s = 0;
                for (int k = 0; k < 24; k++) s += m[i][k] * n[k][j];
                r[i][j] = s;
            }
        crc = crc16(crc, r[round % 24][7]);
        u32 counts[8] = {0};
        state("5012,1234,-874,+122,35.54400,.1234500,-110.700,+0.64400,5.500e+3,-.123e-2,-87e+832,+0.6e-12,T0.3e-1F,-T.T++Tq,1T3.4e4z,34.0e-T^", counts);
        for (int i = 0; i < 8; i++) crc = crc16(crc, counts[i]);
    }
    return crc;
}
