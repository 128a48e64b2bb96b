/* Stands in for a riscv64 program where the host has no binfmt_misc: NAME args... becomes QEMU -L TREE TREE/usr/bin/NAME args... The path of
 * QEMU and the tree come from VIV_BENCH_QEMU and VIV_BENCH_TREE. Static and tiny: it costs what the kernel's own second exec costs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    static char path[4096];
    char *command[1000];
    const char *tree = getenv("VIV_BENCH_TREE"), *qemu = getenv("VIV_BENCH_QEMU"), *name = strrchr(argv[0], '/');
    name = name ? name + 1 : argv[0];
    if (!tree || !qemu || argc > 990) return 127;
    int n = 0;
    const char *directory = "/usr/bin/";
    if (!strcmp(name, "cc1") || !strcmp(name, "collect2")) directory = "/usr/libexec/gcc/riscv64-linux-gnu/14/";
    snprintf(path, sizeof path, "%s%s%s", tree, directory, name);
    command[n++] = (char *)qemu;
    command[n++] = "-L";
    command[n++] = (char *)tree;
    command[n++] = "-0";
    command[n++] = argv[0];
    command[n++] = path;
    for (int i = 1; i <= argc; i++) command[n++] = argv[i];
    execv(qemu, command);
    perror("qemu-exec");
    return 127;
}
