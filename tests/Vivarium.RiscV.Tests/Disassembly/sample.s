# sample.o: riscv64-linux-gnu-as (binutils 2.44) -march=rv64gc sample.s; sample.txt: objdump -d of it.
        .text
        .globl  main
        .type   main, @function
main:   addi    sp, sp, -32
        sd      ra, 24(sp)
        .option push
        .option norelax
        lui     a5, 0x12
        addi    a5, a5, 1024
        lui     a4, 0x12345
        addiw   a4, a4, -1
        .option pop
        beqz    a0, done
        bltu    a0, a1, done
        jal     ra, helper
        fence   rw, w
        fence.tso
        frflags a0
        csrr    a1, 0x123
        fcvt.w.d a0, fa0, rtz
        amoadd.w.aqrl a0, a1, (a2)
        lw      a0, 4(zero)
        ld      a0, -16(tp)
done:    ld      ra, 24(sp)
        ret
        .size   main, .-main
        .type   helper, @function
helper: .word   0xffffffff
        .word   0x00006bbb
        .option push
        .option arch, +zba
        sh1add  a0, a1, a2
        .option pop
        nop
        .balign 4
        .zero   12
        ret
        .type   table, @object
table:  .asciz  "an object in code, 30 bytes.."
        .size   table, .-table
        .balign 4
        .type   last, @function
last:   jr      4(t0)
        unimp
        .short  0x007f, 0, 0, 0, 1
        .balign 4
