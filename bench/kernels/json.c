/* Parse and re-serialise a JSON document: recursive descent, small allocations from an arena. */
#include "kernel.h"
enum { NUL, BOOL, NUM, STR, ARR, OBJ };
typedef struct node { int type; struct node *next, *child; const char *key, *text; int key_len, len; long num; } node;
static node arena[40000];
static int used;
static const char *p;
static void space(void) { while (*p == ' ' || *p == '\n' || *p == '\t') p++; }
static node *make(int type) { node *n = &arena[used++]; memset(n, 0, sizeof *n); n->type = type; return n; }
static int string(const char **s)
{
    *s = ++p;
    while (*p != '"') p += *p == '\\' ? 2 : 1;
    return (int)(p++ - *s);
}
static node *value(void)
{
    space();
    node *n;
    if (*p == '{' || *p == '[') {
        char close = *p == '{' ? '}' : ']';
        n = make(*p == '{' ? OBJ : ARR);
        node **tail = &n->child;
        p++;
        for (space(); *p != close; space()) {
            const char *k = 0;
            int kl = 0;
            if (close == '}') { kl = string(&k); space(); p++; }
            node *v = value();
            v->key = k;
            v->key_len = kl;
            *tail = v;
            tail = &v->next;
            space();
            if (*p == ',') p++;
        }
        p++;
    } else if (*p == '"') {
        n = make(STR);
        n->len = string(&n->text);
    } else if (*p == 't' || *p == 'f') {
        n = make(BOOL);
        n->num = *p == 't';
        p += n->num ? 4 : 5;
    } else if (*p == 'n') {
        n = make(NUL);
        p += 4;
    } else {
        n = make(NUM);
        int neg = *p == '-';
        if (neg) p++;
        while (*p >= '0' && *p <= '9') n->num = n->num * 10 + (*p++ - '0');
        if (neg) n->num = -n->num;
    }
    return n;
}
static char text[600000], again[600000];
static char *o;
static void emit(const node *n)
{
    if (n->key) { *o++ = '"'; memcpy(o, n->key, n->key_len); o += n->key_len; *o++ = '"'; *o++ = ':'; }
    switch (n->type) {
    case NUL: memcpy(o, "null", 4); o += 4; break;
    case BOOL: { int l = n->num ? 4 : 5; memcpy(o, n->num ? "true" : "false", l); o += l; break; }
    case STR: *o++ = '"'; memcpy(o, n->text, n->len); o += n->len; *o++ = '"'; break;
    case NUM: {
        char t[24]; int i = 0; long v = n->num < 0 ? -n->num : n->num;
        do t[i++] = '0' + v % 10; while (v /= 10);
        if (n->num < 0) *o++ = '-';
        while (i) *o++ = t[--i];
        break;
    }
    default:
        *o++ = n->type == OBJ ? '{' : '[';
        for (const node *c = n->child; c; c = c->next) { emit(c); if (c->next) *o++ = ','; }
        *o++ = n->type == OBJ ? '}' : ']';
    }
}
KERNEL(80)
{
    char *t = text;
    *t++ = '[';
    for (int i = 0; i < 2500; i++)
        t += sprintf(t, "%s\n  {\"id\": %d, \"name\": \"item %d\", \"ok\": %s, \"tags\": [\"a\\\"b\", \"%llx\", null], \"pos\": {\"x\": %d, \"y\": -%d}}", i ? "," : "",
                     i, i * 7, i & 1 ? "true" : "false", (unsigned long long)rng(), i * 31, i * 17);
    strcpy(t, "]");
    u64 h = 0;
    for (long r = 0; r < rounds; r++) {
        used = 0;
        p = text;
        node *n = value();
        o = again;
        emit(n);
        h = mix(h, (u64)(o - again) + used + (u8)again[(r * 7919) % (o - again)]);
    }
    return h;
}
