# A small package: eight C files, compiled one after the other and linked. Run with -B, so that everything is made again.
# VIV_BENCH_TREE/bench-bin has QEMU's stand-ins for the compiler's parts (see qemu-exec.c).
names := fib sieve qsort json lz regex bigint hashmap
FLAGS ?= $(if $(VIV_BENCH_TREE),-B $(VIV_BENCH_TREE)/bench-bin/ --sysroot=$(VIV_BENCH_TREE))
out := /tmp
all: $(names:%=$(out)/viv-bench-%.o)
	ld -r --allow-multiple-definition -o $(out)/viv-bench-all.o $^
$(out)/viv-bench-%.o: %.c
	gcc -O1 -c $(FLAGS) -o $@ $<
.PHONY: all
