using System.Runtime.InteropServices;
using Iced.Intel;
using Vivarium.Translation.X86;
using Assembler = Vivarium.Translation.X86.Assembler;
using Label = Vivarium.Translation.X86.Label;
using Size = Vivarium.Translation.X86.Size;

namespace Vivarium.Translation.Tests.X86;

/// <summary>Every emitter against an independent decoder, over the register numbers that change an encoding.</summary>
public sealed unsafe class AssemblerTests : IDisposable
{
    private const int Capacity = 1 << 20;
    private readonly byte* _buffer = (byte*)NativeMemory.AlignedAlloc(Capacity, 64);
    private readonly Assembler _asm = new();
    private readonly List<(int Offset, string Text)> _expected = [];

    public AssemblerTests() => _asm.Reset(_buffer, Capacity);

    public void Dispose() => NativeMemory.AlignedFree(_buffer);

    private static readonly Gpr[] Gprs = Enum.GetValues<Gpr>();
    private static readonly Xmm[] Xmms = [Xmm.Xmm0, Xmm.Xmm3, Xmm.Xmm7, Xmm.Xmm8, Xmm.Xmm15, Xmm.Xmm16, Xmm.Xmm23, Xmm.Xmm24, Xmm.Xmm31];
    private static readonly Xmm[] LowXmms = [Xmm.Xmm0, Xmm.Xmm3, Xmm.Xmm7, Xmm.Xmm8, Xmm.Xmm15];
    private static readonly int[] Immediates = [0, 1, 127, 128, -128, -129, int.MaxValue, int.MinValue];

    private static readonly Mem[] Mems =
    [
        .. Gprs.Select(r => Mem.At(r)), .. Gprs.Select(r => Mem.At(r, 8)), .. Gprs.Select(r => Mem.At(r, -128)),
        .. Gprs.Select(r => Mem.At(r, 0x12345)), Mem.At(Gpr.Rbp, 12), Mem.At(Gpr.Rbp, 512), Mem.At(Gpr.Rbp, 2032),
        Mem.At(Gpr.R15, Gpr.Rax, 0), Mem.At(Gpr.R15, Gpr.R12, 3, 16), Mem.At(Gpr.Rbp, Gpr.Rbp, 1), Mem.At(Gpr.R13, Gpr.R13, 2, -4),
        Mem.At(Gpr.Rsp, Gpr.R8, 0, 1000), Mem.At(Gpr.R12, Gpr.Rdi, 1, 0), Mem.Indexed(Gpr.Rcx, 3, 64), Mem.Indexed(Gpr.R9, 0, -5),
    ];

    private void Expect(string text) => _expected.Add((_asm.Offset, text));

    private static string Name(Gpr r, Size size)
    {
        string name = r.ToString().ToLowerInvariant();
        bool numbered = r >= Gpr.R8;
        return size switch
        {
            Size.S64 => name,
            Size.S32 => numbered ? name + "d" : "e" + name[1..],
            Size.S16 => numbered ? name + "w" : name[1..],
            _ => numbered ? name + "l" : name.EndsWith('x') ? name[1] + "l" : name[1..] + "l",
        };
    }

    private static string N(Gpr r) => Name(r, Size.S64);
    private static string N32(Gpr r) => Name(r, Size.S32);
    private static string N(Xmm r) => r.ToString().ToLowerInvariant();

    private static string N(Mem m, int bytes)
    {
        string text = m.ToString();
        return $"{text}:{bytes}";
    }

    /// <summary>The decoder's view in the notation of the expectations: operands by name, memory as [base+index*scale+disp]:bytes,
    /// immediates in decimal as sign-extended to 64 bits.</summary>
    private static string Describe(in Instruction i, bool hasNearTarget)
    {
        var operands = new List<string>();
        for (int n = 0; n < i.OpCount; n++)
        {
            operands.Add(i.GetOpKind(n) switch
            {
                OpKind.Register => i.GetOpRegister(n).ToString().ToLowerInvariant(),
                OpKind.Memory => Memory(i),
                OpKind.NearBranch64 => hasNearTarget ? i.NearBranch64.ToString() : "?",
                _ => ((long)i.GetImmediate(n)).ToString(),
            });
        }
        string prefix = i.HasLockPrefix ? "lock " : "";
        return prefix + i.Mnemonic.ToString().ToLowerInvariant() + (operands.Count == 0 ? "" : " " + string.Join(",", operands));

        static string Memory(in Instruction i)
        {
            var parts = new List<string>();
            if (i.MemoryBase != Register.None) parts.Add(i.MemoryBase.ToString().ToLowerInvariant());
            if (i.MemoryIndex != Register.None) parts.Add($"{i.MemoryIndex.ToString().ToLowerInvariant()}*{i.MemoryIndexScale}");
            parts.Add(((long)i.MemoryDisplacement64).ToString());
            return $"[{string.Join("+", parts)}]:{i.MemorySize.GetInfo().Size}";
        }
    }

    private void Check(bool nearTargets = false)
    {
        Assert.False(_asm.Overflowed);
        int end = _asm.Offset;
        var reader = new ByteArrayCodeReader(new ReadOnlySpan<byte>(_buffer, end).ToArray());
        var decoder = Decoder.Create(64, reader);
        decoder.IP = 0;
        foreach (var (offset, text) in _expected)
        {
            Assert.Equal((ulong)offset, decoder.IP);
            decoder.Decode(out Instruction instruction);
            Assert.Equal(text, Describe(instruction, nearTargets));
        }
        Assert.Equal((ulong)end, decoder.IP);
        _expected.Clear();
        _asm.Reset(_buffer, Capacity);
    }

    public static readonly TheoryData<Size> Sizes = new(Enum.GetValues<Size>());

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Arithmetic(Size size)
    {
        int bytes = 1 << (int)size;
        foreach (var op in Enum.GetValues<AluOp>())
        {
            string name = op.ToString().ToLowerInvariant();
            foreach (var d in Gprs)
            {
                foreach (var s in Gprs)
                {
                    Expect($"{name} {Name(d, size)},{Name(s, size)}");
                    _asm.Alu(op, size, d, s);
                }
                foreach (int immediate in Immediates)
                {
                    long value = size switch
                    {
                        Size.S8 => (byte)immediate,
                        Size.S16 => immediate == (sbyte)immediate ? immediate : (ushort)immediate,
                        Size.S32 => immediate == (sbyte)immediate ? immediate : (uint)immediate,
                        _ => immediate,
                    };
                    Expect($"{name} {Name(d, size)},{value}");
                    _asm.Alu(op, size, d, immediate);
                    Expect($"{name} {N(Mem.At(d, 4), bytes)},{value}");
                    _asm.Alu(op, size, Mem.At(d, 4), immediate);
                }
            }
            foreach (var m in Mems)
            {
                foreach (var r in new[] { Gpr.Rax, Gpr.Rsp, Gpr.Rdi, Gpr.R8, Gpr.R15 })
                {
                    Expect($"{name} {Name(r, size)},{N(m, bytes)}");
                    _asm.Alu(op, size, r, m);
                    Expect($"{name} {N(m, bytes)},{Name(r, size)}");
                    _asm.Alu(op, size, m, r);
                    if (op == AluOp.Cmp) continue;
                    Expect($"lock {name} {N(m, bytes)},{Name(r, size)}");
                    _asm.LockAlu(op, size, m, r);
                }
            }
            Check();
        }
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void ShiftsAndBits(Size size)
    {
        foreach (var d in Gprs)
        {
            foreach (var op in Enum.GetValues<ShiftOp>())
            {
                string name = op.ToString().ToLowerInvariant();
                foreach (int count in new[] { 1, 2, 7 })
                {
                    Expect($"{name} {Name(d, size)},{count}");
                    _asm.Shift(op, size, d, count);
                }
                Expect($"{name} {Name(d, size)},cl");
                _asm.ShiftCl(op, size, d);
            }
            if (size < Size.S32) continue;
            foreach (var op in Enum.GetValues<BitOp>())
            {
                string name = op.ToString().ToLowerInvariant();
                Expect($"{name} {Name(d, size)},31");
                _asm.Bit(op, size, d, 31);
                foreach (var s in Gprs)
                {
                    Expect($"{name} {Name(d, size)},{Name(s, size)}");
                    _asm.Bit(op, size, d, s);
                }
            }
        }
        Check();
    }

    /// <summary>Emitters of the shape (d, s), (d, [m]), ([m], s), (d) by table: mnemonic, sizes of both sides, emitter.</summary>
    [Fact]
    public void RegisterForms()
    {
        const Size S8 = 0, S16 = (Size)1, S32 = (Size)2, S64 = (Size)3;
        (string, Size, Size, Action<Gpr, Gpr>)[] two =
        [
            ("mov", S64, S64, _asm.Mov), ("mov", S32, S32, _asm.Mov32), ("movzx", S32, S8, _asm.Movzx8), ("movzx", S32, S16, _asm.Movzx16),
            ("movsx", S64, S8, _asm.Movsx8), ("movsx", S64, S16, _asm.Movsx16), ("movsxd", S64, S32, _asm.Movsxd),
            ("movsx", S32, S8, _asm.Movsx8To32), ("movsx", S32, S16, _asm.Movsx16To32),
            ("test", S64, S64, _asm.Test), ("test", S32, S32, _asm.Test32), ("test", S8, S8, _asm.Test8),
            ("imul", S64, S64, _asm.Imul), ("imul", S32, S32, _asm.Imul32), ("lzcnt", S64, S64, _asm.Lzcnt), ("lzcnt", S32, S32, _asm.Lzcnt32),
            ("tzcnt", S64, S64, _asm.Tzcnt), ("tzcnt", S32, S32, _asm.Tzcnt32), ("popcnt", S64, S64, _asm.Popcnt),
            ("popcnt", S32, S32, _asm.Popcnt32), ("bsr", S64, S64, _asm.Bsr), ("bsr", S32, S32, _asm.Bsr32), ("bsf", S64, S64, _asm.Bsf),
            ("bsf", S32, S32, _asm.Bsf32), ("cmovle", S64, S64, (d, s) => _asm.Cmov(Cond.Le, d, s)), ("cmovb", S32, S32, (d, s) => _asm.Cmov32(Cond.B, d, s)),
            ("add", S64, S64, _asm.Add), ("sub", S32, S32, _asm.Sub32), ("xor", S64, S64, _asm.Xor), ("cmp", S8, S8, _asm.Cmp8),
        ];
        foreach (var (name, left, right, emit) in two)
            foreach (var d in Gprs)
                foreach (var s in Gprs)
                {
                    Expect($"{name} {Name(d, left)},{Name(s, right)}");
                    emit(d, s);
                }
        (string, Size, Action<Gpr>)[] one =
        [
            ("neg", S64, _asm.Neg), ("neg", S32, _asm.Neg32), ("not", S64, _asm.Not), ("not", S32, _asm.Not32), ("mul", S64, _asm.Mul),
            ("mul", S32, _asm.Mul32), ("imul", S64, _asm.Imul), ("imul", S32, _asm.Imul32), ("div", S64, _asm.Div), ("div", S32, _asm.Div32),
            ("idiv", S64, _asm.Idiv), ("idiv", S32, _asm.Idiv32), ("bswap", S64, _asm.Bswap), ("bswap", S32, _asm.Bswap32),
            ("push", S64, _asm.Push), ("pop", S64, _asm.Pop), ("jmp", S64, _asm.Jmp), ("call", S64, _asm.Call),
            ("setnp", S8, d => _asm.Setcc(Cond.Np, d)), ("sete", S8, d => _asm.Setcc(Cond.E, d)),
        ];
        foreach (var (name, size, emit) in one)
            foreach (var d in Gprs)
            {
                Expect($"{name} {Name(d, size)}");
                emit(d);
            }
        foreach (var d in Gprs)
        {
            Expect($"xor {N32(d)},{N32(d)}");
            _asm.Zero(d);
            foreach (long value in new[] { 0, 1, 0x7FFFFFFFL, 0x80000000L, 0xFFFFFFFFL, -1, int.MinValue, 0x100000000L, long.MinValue, -0x80000001L })
            {
                Expect(value == (uint)value ? $"mov {N32(d)},{value}" : $"mov {N(d)},{value}");
                _asm.MovImmediate(d, value);
            }
            foreach (int immediate in new[] { 5, 1000, -7 })
            {
                Expect($"imul {N(d)},{N(Gpr.R9)},{immediate}");
                _asm.Imul(d, Gpr.R9, immediate);
                Expect($"imul {N32(d)},{N32(Gpr.Rsi)},{immediate}");
                _asm.Imul32(d, Gpr.Rsi, immediate);
                Expect($"test {N(d)},{immediate}");
                _asm.Test(d, immediate);
                Expect($"test {N32(d)},{(uint)immediate}");
                _asm.Test32(d, immediate);
                Expect($"test {Name(d, S8)},{(byte)immediate}");
                _asm.Test8(d, immediate);
            }
        }
        (string, Action<Gpr, Gpr, Gpr>, Size)[] three =
        [
            ("shlx", _asm.Shlx, S64), ("shlx", _asm.Shlx32, S32), ("shrx", _asm.Shrx, S64), ("shrx", _asm.Shrx32, S32), ("sarx", _asm.Sarx, S64),
            ("sarx", _asm.Sarx32, S32), ("andn", _asm.Andn, S64), ("andn", _asm.Andn32, S32), ("bextr", _asm.Bextr, S64), ("pext", _asm.Pext, S64),
            ("pdep", _asm.Pdep, S64), ("mulx", _asm.Mulx, S64),
        ];
        foreach (var (name, emit, size) in three)
            foreach (var a in Gprs)
                foreach (var b in new[] { Gpr.Rax, Gpr.Rdi, Gpr.R8, Gpr.R15 })
                {
                    Expect($"{name} {Name(a, size)},{Name(b, size)},{Name(Gpr.R12, size)}");
                    emit(a, b, Gpr.R12);
                    Expect($"{name} {Name(b, size)},{Name(Gpr.R12, size)},{Name(a, size)}");
                    emit(b, Gpr.R12, a);
                }
        foreach (var d in Gprs)
        {
            Expect($"rorx {N(d)},{N(Gpr.R10)},63");
            _asm.Rorx(d, Gpr.R10, 63);
            Expect($"rorx {N32(Gpr.R10)},{N32(d)},7");
            _asm.Rorx32(Gpr.R10, d, 7);
            if (d == Gpr.Rax) continue;
            Expect($"xchg {N(d)},{N(Gpr.R11)}");
            _asm.Xchg(Gpr.R11, d);
        }
        Check();
    }

    [Fact]
    public void MemoryForms()
    {
        const Size S8 = 0, S16 = (Size)1, S32 = (Size)2, S64 = (Size)3;
        foreach (var m in Mems)
        {
            foreach (var r in Gprs)
            {
                Load("mov", S64, 8, _asm.Mov);
                Load("mov", S32, 4, _asm.Mov32);
                Load("movzx", S32, 1, _asm.Movzx8);
                Load("movzx", S32, 2, _asm.Movzx16);
                Load("movsx", S64, 1, _asm.Movsx8);
                Load("movsx", S64, 2, _asm.Movsx16);
                Load("movsxd", S64, 4, _asm.Movsxd);
                Load("imul", S64, 8, _asm.Imul);
                Load("imul", S32, 4, _asm.Imul32);
                Load("cmova", S64, 8, (d, s) => _asm.Cmov(Cond.A, d, s));
                Load("lea", S64, 0, _asm.Lea);
                Load("lea", S32, 0, _asm.Lea32);
                Store("mov", S64, 8, _asm.Mov);
                Store("mov", S32, 4, _asm.Mov32);
                Store("mov", S16, 2, _asm.Mov16);
                Store("mov", S8, 1, _asm.Mov8);
                foreach (var size in new[] { S8, S16, S32, S64 })
                {
                    Store("xchg", size, 1 << (int)size, (m, s) => _asm.Xchg(size, m, s));
                    Store("lock xadd", size, 1 << (int)size, (m, s) => _asm.LockXadd(size, m, s));
                    Store("lock cmpxchg", size, 1 << (int)size, (m, s) => _asm.LockCmpxchg(size, m, s));
                }

                void Load(string name, Size size, int bytes, Action<Gpr, Mem> emit)
                {
                    Expect($"{name} {Name(r, size)},{N(m, bytes)}");
                    emit(r, m);
                }

                void Store(string name, Size size, int bytes, Action<Mem, Gpr> emit)
                {
                    Expect($"{name} {N(m, bytes)},{Name(r, size)}");
                    emit(m, r);
                }
            }
            One("jmp", 8, _asm.Jmp);
            One("call", 8, _asm.Call);
            One("push", 8, _asm.Push);
            One("pop", 8, _asm.Pop);
            One("mul", 8, _asm.Mul);
            One("imul", 8, _asm.Imul);
            One("ldmxcsr", 4, _asm.Ldmxcsr);
            One("stmxcsr", 4, _asm.Stmxcsr);
            One("prefetcht0", 1, _asm.Prefetcht0);
            One("prefetchnta", 1, _asm.Prefetchnta);
            One("prefetchw", 1, _asm.Prefetchw);
            One("lock cmpxchg16b", 16, _asm.LockCmpxchg16b);
            One("setge", 1, m => _asm.Setcc(Cond.Ge, m));
            Expect($"mov {N(m, 8)},-2");
            _asm.Mov(m, -2);
            Expect($"mov {N(m, 4)},{uint.MaxValue - 1}");
            _asm.Mov32(m, -2);
            Expect($"mov {N(m, 2)},{ushort.MaxValue - 1}");
            _asm.Mov16(m, -2);
            Expect($"mov {N(m, 1)},{byte.MaxValue - 1}");
            _asm.Mov8(m, -2);
            Expect($"test {N(m, 4)},77");
            _asm.Test32(m, 77);
            Expect($"test {N(m, 1)},77");
            _asm.Test8(m, 77);
            Check();

            void One(string name, int bytes, Action<Mem> emit)
            {
                Expect($"{name} {N(m, bytes)}");
                emit(m);
            }
        }
    }

    [Fact]
    public void FixedForms()
    {
        (string, Action)[] rows =
        [
            ("ret", _asm.Ret), ("ud2", _asm.Ud2), ("int3", _asm.Int3), ("syscall", _asm.Syscall), ("rdtsc", _asm.Rdtsc), ("pause", _asm.Pause),
            ("mfence", _asm.Mfence), ("lfence", _asm.Lfence), ("sfence", _asm.Sfence), ("cqo", _asm.Cqo), ("cdq", _asm.Cdq),
        ];
        foreach (var (name, emit) in rows)
        {
            Expect(name);
            emit();
        }
        Check();
        for (int n = 1; n < 9; n++)
        {
            _asm.Nop(n);
            var decoder = Decoder.Create(64, new ByteArrayCodeReader(new ReadOnlySpan<byte>(_buffer, n).ToArray()));
            decoder.Decode(out Instruction nop);
            Assert.Equal(Mnemonic.Nop, nop.Mnemonic);
            Assert.Equal(n, nop.Length);
            _asm.Reset(_buffer, Capacity);
        }
    }

    /// <summary>Names, memory bytes and operand shape follow from the table itself; the decoder says whether the table is right.</summary>
    [Fact]
    public void VectorInstructions()
    {
        VecOp[] withImmediate =
        [
            VecOp.Roundss, VecOp.Roundsd, VecOp.Rndscaless, VecOp.Rndscalesd, VecOp.Pshufd, VecOp.Insertps, VecOp.Blendps, VecOp.Blendpd,
            VecOp.Cmpss, VecOp.Cmpsd, VecOp.Pclmulqdq, VecOp.Ternlogd, VecOp.Ternlogq,
        ];
        VecOp[] twoOperand = // no vvvv
        [
            VecOp.Ucomiss, VecOp.Ucomisd, VecOp.Comiss, VecOp.Comisd, VecOp.Movups, VecOp.Movaps, VecOp.Movq, VecOp.Pshufd,
            VecOp.MovupsStore, VecOp.MovapsStore,
        ];
        VecOp[] stores = [VecOp.MovssStore, VecOp.MovsdStore, VecOp.MovupsStore, VecOp.MovapsStore, VecOp.MovqStore];
        VecOp[] loads = [VecOp.Movss, VecOp.Movsd];
        foreach (var op in Enum.GetValues<VecOp>().Where(o => char.IsUpper(o.ToString()[0])).Distinct())
        {
            uint bits = (uint)op;
            string name = op.ToString().Replace("Store", "").ToLowerInvariant();
            if (name is "rndscaless" or "rndscalesd" or "ternlogd" or "ternlogq") name = (name[0] == 't' ? "p" : "") + name;
            int bytes = op is VecOp.Psllq or VecOp.Psrlq ? 16 : 4 << (int)(bits >> 18 & 3);
            bool sse = (bits & (uint)VecOp._Sse) != 0, evex = (bits & (uint)VecOp._Evex) != 0;
            if (op is VecOp.Andps or VecOp.Andnps or VecOp.Orps or VecOp.Xorps or VecOp.Andpd or VecOp.Andnpd or VecOp.Orpd or VecOp.Xorpd) evex = true;
            bool immediate = withImmediate.Contains(op), two = twoOperand.Contains(op), store = stores.Contains(op), load = loads.Contains(op);
            bool blendv = op is VecOp.Blendvps or VecOp.Blendvpd;
            string tail = immediate ? ",3" : blendv ? ",xmm0" : "";
            foreach (var d in evex ? Xmms : LowXmms)
            {
                foreach (var s in evex ? Xmms : LowXmms)
                {
                    if (store && !two) break;
                    foreach (var a in two ? [Xmm.Xmm0] : evex ? Xmms : LowXmms)
                    {
                        Expect(two
                            ? store ? $"v{name} {N(s)},{N(d)}{tail}" : $"v{name} {N(d)},{N(s)}{tail}"
                            : $"v{name} {N(d)},{N(a)},{N(s)}{tail}");
                        if (immediate || blendv) _asm.Vex(op, d, a, s, immediate ? 3 : 0);
                        else _asm.Vex(op, d, a, s);
                    }
                    if (!sse || d > Xmm.Xmm15 || s > Xmm.Xmm15) continue;
                    Expect(store ? $"{name} {N(s)},{N(d)}{tail}" : $"{name} {N(d)},{N(s)}{tail}");
                    if (immediate) _asm.Sse(op, d, s, 3);
                    else _asm.Sse(op, d, s);
                }
                foreach (var m in Mems)
                {
                    if (immediate && two) break;
                    if (store)
                    {
                        Expect($"v{name} {N(m, bytes)},{N(d)}");
                        _asm.Vex(op, d, m);
                    }
                    else if (two || load)
                    {
                        Expect($"v{name} {N(d)},{N(m, bytes)}");
                        _asm.Vex(op, d, m);
                    }
                    else
                    {
                        Expect($"v{name} {N(d)},xmm9,{N(m, bytes)}{tail}");
                        if (immediate || blendv) _asm.Vex(op, d, Xmm.Xmm9, m, immediate ? 3 : 0);
                        else _asm.Vex(op, d, Xmm.Xmm9, m);
                    }
                    if (!sse || d > Xmm.Xmm15 || immediate) continue;
                    Expect(store ? $"{name} {N(m, bytes)},{N(d)}" : $"{name} {N(d)},{N(m, bytes)}");
                    _asm.Sse(op, d, m);
                }
            }
            Check();
        }
        foreach (var d in Xmms)
        {
            Expect($"vpsllq {N(d)},xmm1,32");
            _asm.VexShift(VecOp.Psllq, d, Xmm.Xmm1, 32);
            Expect($"vpsrlq xmm1,{N(d)},32");
            _asm.VexShift(VecOp.Psrlq, Xmm.Xmm1, d, 32);
        }
        Check();
    }

    [Fact]
    public void VectorWithGeneralRegister()
    {
        foreach (var size in new[] { Size.S32, Size.S64 })
        {
            string suffix = size == Size.S64 ? "q" : "d";
            foreach (var x in Xmms)
                foreach (var g in Gprs)
                {
                    bool low = x <= Xmm.Xmm15;
                    Row($"vmov{suffix} {N(x)},{Name(g, size)}", () => _asm.Vex(VecGprOp.MovFrom, size, x, g));
                    Row($"vmov{suffix} {Name(g, size)},{N(x)}", () => _asm.Vex(VecGprOp.MovTo, size, g, x));
                    Row($"vpextr{suffix} {Name(g, size)},{N(x)},1", () => _asm.Vpextr(size, g, x, 1));
                    Row($"vpinsr{suffix} {N(x)},xmm5,{Name(g, size)},1", () => _asm.Vpinsr(size, x, Xmm.Xmm5, g, 1));
                    if (low)
                    {
                        Row($"mov{suffix} {N(x)},{Name(g, size)}", () => _asm.Sse(VecGprOp.MovFrom, size, x, g));
                        Row($"mov{suffix} {Name(g, size)},{N(x)}", () => _asm.Sse(VecGprOp.MovTo, size, g, x));
                        Row($"pextr{suffix} {Name(g, size)},{N(x)},1", () => _asm.Pextr(size, g, x, 1));
                        Row($"pinsr{suffix} {N(x)},{Name(g, size)},1", () => _asm.Pinsr(size, x, g, 1));
                    }
                    foreach (var op in Enum.GetValues<VecGprOp>())
                    {
                        string name = op.ToString().ToLowerInvariant();
                        bool only = ((uint)op & (uint)VecOp._Sse) == 0;
                        if (name.StartsWith("cvtsi2", StringComparison.Ordinal) || name.StartsWith("cvtusi2", StringComparison.Ordinal))
                        {
                            Row($"v{name} {N(x)},xmm4,{Name(g, size)}", () => _asm.Vex(op, size, x, Xmm.Xmm4, g));
                            Row($"v{name} {N(x)},xmm4,{N(Mem.At(g, 8), 1 << (int)size)}", () => _asm.Vex(op, size, x, Xmm.Xmm4, Mem.At(g, 8)));
                            if (low && !only) Row($"{name} {N(x)},{Name(g, size)}", () => _asm.Sse(op, size, x, g));
                        }
                        else if (name.StartsWith("cvt", StringComparison.Ordinal))
                        {
                            Row($"v{name} {Name(g, size)},{N(x)}", () => _asm.Vex(op, size, g, x));
                            if (low && !only) Row($"{name} {Name(g, size)},{N(x)}", () => _asm.Sse(op, size, g, x));
                        }
                    }
                }
        }
        Check();

        void Row(string text, Action emit)
        {
            Expect(text);
            emit();
        }
    }

    [Fact]
    public void LabelsReachBothWays()
    {
        Label back = default, forward = default, near = default;
        _asm.Bind(ref back);
        Expect("jmp 0");
        _asm.Jmp(ref back);
        Expect("jne 0");
        _asm.Jcc(Cond.Ne, ref back);
        int first = _expected.Count;
        Expect("jmp F"); _asm.Jmp(ref forward);
        Expect("jb F"); _asm.Jcc(Cond.B, ref forward);
        Expect("call F"); _asm.Call(ref forward);
        Expect("lea r9,F"); _asm.LeaRip(Gpr.R9, ref forward);
        Expect("jmp N"); _asm.JmpShort(ref near);
        Expect("jo N"); _asm.JccShort(Cond.O, ref near);
        _asm.Bind(ref near);
        for (int i = 0; i < 50; i++)
        {
            Expect("mov rax,rax");
            _asm.Mov(Gpr.Rax, Gpr.Rax);
        }
        Expect("jmp 0");
        _asm.Jmp(ref back);
        Expect("js 0");
        _asm.Jcc(Cond.S, ref back);
        Assert.True(forward.IsAwaited);
        _asm.Bind(ref forward);
        Assert.False(forward.IsAwaited);
        for (int i = first; i < _expected.Count; i++)
        {
            string text = _expected[i].Text
                .Replace("lea r9,F", $"lea r9,[rip+{forward.Offset}]:0")
                .Replace(" F", $" {forward.Offset}").Replace(" N", $" {near.Offset}");
            _expected[i] = (_expected[i].Offset, text);
        }
        Check(nearTargets: true);
    }

    [Fact]
    public void PatchSlotsAreAligned()
    {
        for (int lead = 0; lead < 8; lead++)
        {
            _asm.Nop(lead);
            int jump = _asm.JmpPatchable();
            Assert.Equal(0, jump & 3);
            Assert.Equal(0xE9, _buffer[jump - 1]);
            int branch = _asm.JccPatchable(Cond.G, 0);
            Assert.Equal(0, branch & 3);
            Assert.Equal(0x8F, _buffer[branch - 1]);
            Assert.Equal(-(branch + 4), *(int*)(_buffer + branch));
            Label label = default;
            int labelled = _asm.JccPatchable(Cond.E, ref label);
            _asm.Ret();
            _asm.Bind(ref label);
            Assert.Equal(0, labelled & 3);
            Assert.Equal(label.Offset - labelled - 4, *(int*)(_buffer + labelled));
            _asm.Reset(_buffer, Capacity);
        }
    }

    [Fact]
    public void OverflowIsReportedAndStaysInside()
    {
        _buffer[128] = 0x5A;
        _asm.Reset(_buffer, 128);
        for (int i = 0; i < 1000; i++) _asm.MovImmediate(Gpr.R9, long.MaxValue);
        Assert.True(_asm.Overflowed);
        Assert.Equal(0x5A, _buffer[128]);
        Label label = default;
        _asm.Jmp(ref label);
        _asm.Bind(ref label); // does nothing, and does not throw
    }
}
