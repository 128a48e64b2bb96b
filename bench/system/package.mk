# A small package: eight C files, compiled one after the other and linked. BIN is where stand-ins for the compiler's parts are, if any.
names := fib sieve qsort json lz regex bigint hashmap
FLAGS ?= $(if $(VIV_BENCH_TREE),-B $(VIV_BENCH_TREE)/bench-bin/ --sysroot=$(VIV_BENCH_TREE))
out := /tmp/viv-bench-make
rebuild: clean
	@mkdir -p $(out)
	@make -s all
all: $(names:%=$(out)/%.o)
	ld -r --allow-multiple-definition -o $(out)/all.o $^
$(out)/%.o: %.c
	gcc -O1 -c $(FLAGS) -o $@ $<
clean:
	@rm -f $(out)/*.o
.PHONY: rebuild all clean
