using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Vivarium.RiscV.Isa;

namespace Vivarium.Testing;

/// <summary>Emits a <see cref="RandomProgram"/>.</summary>
internal sealed class RandomProgramGenerator
{
    private const int Link = 1, StackPointer = 2, DataPointer = 9, ConstantPointer = 18, OuterCounter = 30, InnerCounter = 31;

    private static readonly Opcode[] IntegerLoads = [Opcode.Lb, Opcode.Lh, Opcode.Lw, Opcode.Ld, Opcode.Lbu, Opcode.Lhu, Opcode.Lwu];
    private static readonly Opcode[] IntegerStores = [Opcode.Sb, Opcode.Sh, Opcode.Sw, Opcode.Sd];
    private static readonly Opcode[] BranchOpcodes = [Opcode.Beq, Opcode.Bne, Opcode.Blt, Opcode.Bge, Opcode.Bltu, Opcode.Bgeu];

    private readonly int _seed;
    private readonly RandomProgramOptions _options;
    private readonly Random _random;
    private readonly List<byte> _code = [];
    private readonly InstructionRow[] _integerRows;
    private readonly InstructionRow[] _floatRows;
    private readonly InstructionRow[] _compressedRows;
    private uint _reserved = 1u << StackPointer | 1u << DataPointer | 1u << ConstantPointer;
    private int _depth;

    public RandomProgramGenerator(int seed, RandomProgramOptions options)
    {
        (_seed, _options, _random) = (seed, options, new Random(seed));
        var rows = InstructionTable.Rows.ToArray();
        _integerRows = [.. rows.Where(r => r.Length == 4 && r.Class is (SemanticsClass.Integer or SemanticsClass.Multiply)
            && r.Opcode != Opcode.Illegal && IsEnabled(r.Extension))];
        _floatRows = [.. rows.Where(r => r.Length == 4 && r.Class == SemanticsClass.Float && IsEnabled(r.Extension))];
        _compressedRows = [.. rows.Where(r => r.Length == 2 && r.Class == SemanticsClass.Integer && IsEnabled(r.Extension))];
    }

    private bool IsEnabled(Extension extension) => extension switch
    {
        Extension.I => true,
        Extension.M => _options.Multiply,
        Extension.Zba or Extension.Zbb or Extension.Zbc or Extension.Zbs or Extension.Zicond => _options.BitManipulation,
        Extension.F or Extension.D => _options.Float,
        Extension.Zfa => _options.Float && _options.AdditionalFloat,
        Extension.Zca => _options.Compressed,
        _ => false,
    };

    public RandomProgram Generate()
    {
        for (var n = 0; n < _options.Length; n++) Item();
        if (_options.ControlStatus) Csr(Opcode.Csrrs, AnyDestination(), 0, 3);
        Emit(Opcode.Ecall);

        var x = new ulong[32];
        var f = new ulong[32];
        for (var r = 1; r < 32; r++) x[r] = SpecialValues.RandomInteger(_random);
        x[StackPointer] = x[DataPointer] = RandomProgram.DataStart + RandomProgram.DataSize / 2;
        x[ConstantPointer] = RandomProgram.ConstantsStart + RandomProgram.ConstantsSize / 2;
        for (var r = 0; r < 32; r++)
        {
            f[r] = _random.Next(10) == 0 ? SpecialValues.RandomFloatRegister(_random)
                : r < 16 ? SpecialValues.Boxed(SpecialValues.RandomSingle(_random)) : SpecialValues.RandomDouble(_random);
        }
        var data = new byte[RandomProgram.DataSize];
        var words = MemoryMarshal.Cast<byte, ulong>(data.AsSpan());
        for (var n = 0; n < words.Length; n++)
            words[n] = _random.Next(2) == 0 ? SpecialValues.RandomInteger(_random) : SpecialValues.RandomFloatRegister(_random);

        // Constants: integers below the pointer; above it doubles, then singles.
        var constants = new byte[RandomProgram.ConstantsSize];
        words = MemoryMarshal.Cast<byte, ulong>(constants.AsSpan());
        for (var n = 0; n < words.Length; n++)
        {
            words[n] = n < 256 ? SpecialValues.RandomInteger(_random)
                : n < 384 ? SpecialValues.RandomDouble(_random)
                : SpecialValues.RandomSingle(_random) | SpecialValues.RandomSingle(_random) << 32;
        }
        return new(_seed, [.. _code], data, constants, x, f, (uint)_random.Next(5), (uint)_random.Next(32));
    }

    // Choosing.

    private bool Chance(int percent) => _random.Next(100) < percent;

    private T Pick<T>(T[] values) => values[_random.Next(values.Length)];

    private bool IsReserved(int register) => (_reserved >> register & 1) != 0;

    private int AnySource() => _random.Next(32);

    /// <summary>A register that may be written; now and then x0.</summary>
    private int AnyDestination()
    {
        while (true)
        {
            var register = _random.Next(32);
            if (!IsReserved(register)) return register;
        }
    }

    private int NonZeroDestination()
    {
        while (true)
        {
            var register = AnyDestination();
            if (register != 0) return register;
        }
    }

    // Emitting.

    private void Emit(uint bits)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, bits);
        _code.AddRange(bytes);
    }

    private void Emit16(ushort bits)
    {
        _code.Add((byte)bits);
        _code.Add((byte)(bits >> 8));
    }

    private void Emit(Opcode opcode, int rd = 0, int rs1 = 0, int rs2 = 0, int imm = 0, int aqrl = 0) =>
        Emit(Encoder.Encode(opcode, rd, rs1, rs2, imm: imm, aqrl: aqrl));

    private void Csr(Opcode opcode, int rd, int rs1, int number) => Emit(opcode, rd, rs1, imm: number);

    private void Patch(int at, uint bits) => BinaryPrimitives.WriteUInt32LittleEndian(CollectionsMarshal.AsSpan(_code)[at..], bits);

    private void Patch16(int at, ushort bits) => BinaryPrimitives.WriteUInt16LittleEndian(CollectionsMarshal.AsSpan(_code)[at..], bits);

    // Items.

    private void Item()
    {
        var roll = _random.Next(100);
        switch (roll)
        {
            case < 12 when _options.Memory: LoadOrStore(); break;
            case < 18 when _options.Memory: SpecialLoad(); break;
            case < 20 when _options.Memory: IndexedAccess(); break;
            case < 22 when _options.Atomics: Atomic(); break;
            case < 25 when _options.ControlStatus && _options.Float: FloatControl(); break;
            case < 32 when _options.Branches && _depth < 4: ControlFlow(); break;
            case < 33 when _options.CacheAndFences: CacheOrFence(); break;
            case < 34 when _options.Traps: Trapping(); break;
            default: Compute(); break;
        }
    }

    private void Compute()
    {
        if (_floatRows.Length > 0 && Chance(_options.FloatPercent)) Float();
        else if (_compressedRows.Length > 0 && Chance(30)) FromRow(_compressedRows);
        else if (Chance(4)) Emit(Pick([Opcode.Lui, Opcode.Auipc]), AnyDestination(), imm: (int)(_random.NextInt64() & 0xfffff000));
        else FromRow(_integerRows);
    }

    /// <summary>Random operands in a random row, until the result writes nothing that is reserved.</summary>
    private void FromRow(InstructionRow[] rows)
    {
        while (true)
        {
            var row = Pick(rows);
            var instruction = Decoder.Decode(((uint)_random.NextInt64() & ~row.Mask) | row.Match);
            if (instruction.Opcode != row.Opcode || IsReserved(instruction.Rd) || row.Class == SemanticsClass.Illegal) continue;
            if (InstructionTable.ClassOf(instruction.Opcode) is not (SemanticsClass.Integer or SemanticsClass.Multiply)) continue;
            if (instruction.Length == 2) Emit16((ushort)instruction.Bits);
            else Emit(instruction.Bits);
            return;
        }
    }

    private void Float()
    {
        while (true)
        {
            var row = Pick(_floatRows);
            var bits = ((uint)_random.NextInt64() & ~row.Mask) | row.Match;
            if (!Chance(12)) bits = SortByFormat(row, bits);
            var hasMode = row.Format is OperandFormat.R4 or OperandFormat.RRm or OperandFormat.RUnaryRm && (row.Mask & 0x7000) == 0;
            // Mostly dynamic, else any of the five.
            if (hasMode) bits = (bits & ~0x7000u) | (uint)(Chance(60) ? 7 : _random.Next(5)) << 12;
            var instruction = Decoder.Decode(bits);
            if (instruction.Opcode != row.Opcode) continue;
            if (row.Syntax.StartsWith('d') && IsReserved(instruction.Rd)) continue;
            Emit(bits);
            return;
        }
    }

    /// <summary>Makes singles use f0..f15 and doubles f16..f31, so that most operands are of the right format.</summary>
    private static uint SortByFormat(in InstructionRow row, uint bits)
    {
        var single = (row.Match >> 25 & 3) == 0;
        var singleSource = row.Opcode switch { Opcode.FcvtSD => false, Opcode.FcvtDS => true, _ => single };
        // The letters of the operands in the row's syntax, with where their fields' top bits are.
        if (row.Syntax.Contains('D')) bits = SetBank(bits, 11, single);
        if (row.Syntax.Contains('S')) bits = SetBank(bits, 19, singleSource);
        if (row.Syntax.Contains('T')) bits = SetBank(bits, 24, singleSource);
        if (row.Syntax.Contains('R')) bits = SetBank(bits, 31, singleSource);
        return bits;

        static uint SetBank(uint bits, int bit, bool low) => low ? bits & ~(1u << bit) : bits | 1u << bit;
    }

    private void LoadOrStore()
    {
        var offset = Chance(70) ? _random.Next(-256, 255) * 8 : _random.Next(-2048, 2048);
        var pointer = Chance(50) ? StackPointer : DataPointer;
        if (_options.Compressed && Chance(30))
        {
            CompressedAccess();
            return;
        }
        if (_options.Float && Chance(40))
        {
            var single = Chance(50);
            var register = _random.Next(16) + (single ^ Chance(8) ? 0 : 16);
            if (Chance(50)) Emit(single ? Opcode.Flw : Opcode.Fld, register, pointer, imm: offset);
            else Emit(single ? Opcode.Fsw : Opcode.Fsd, rs1: pointer, rs2: register, imm: offset);
        }
        else if (Chance(55)) Emit(Pick(IntegerLoads), AnyDestination(), pointer, imm: offset);
        else Emit(Pick(IntegerStores), rs1: pointer, rs2: AnySource(), imm: offset);
    }

    private void CompressedAccess()
    {
        var rows = InstructionTable.Rows;
        while (true)
        {
            ref readonly var row = ref rows[_random.Next(rows.Length)];
            if (row.Length != 2 || row.Class is not (SemanticsClass.Load or SemanticsClass.Store or SemanticsClass.FloatLoad or SemanticsClass.FloatStore)) continue;
            if (row.Extension == Extension.Zcd && !_options.Float) continue;
            var bits = ((uint)_random.Next(0x10000) & ~row.Mask) | row.Match;
            if (row.Format is OperandFormat.CLw or OperandFormat.CLd or OperandFormat.CSw or OperandFormat.CSd)
                bits = (bits & ~0x380u) | (DataPointer - 8) << 7;
            var instruction = Decoder.Decode(bits);
            if (instruction.Opcode != row.Opcode || (row.Class == SemanticsClass.Load && IsReserved(instruction.Rd))) continue;
            Emit16((ushort)bits);
            return;
        }
    }

    /// <summary>Reloads a register with a special value, since random arithmetic soon makes noise of everything.</summary>
    private void SpecialLoad()
    {
        if (!_options.Float || Chance(40)) Emit(Opcode.Ld, AnyDestination(), ConstantPointer, imm: -8 * _random.Next(1, 257));
        else if (Chance(50)) Emit(Opcode.Fld, 16 + _random.Next(16), ConstantPointer, imm: 8 * _random.Next(128));
        else Emit(Opcode.Flw, _random.Next(16), ConstantPointer, imm: 1024 + 4 * _random.Next(256));
    }

    /// <summary>base + (index &amp; mask), as compilers compute addresses.</summary>
    private void IndexedAccess()
    {
        var address = NonZeroDestination();
        Emit(Opcode.Andi, address, AnySource(), imm: 0x7f8);
        if (_options.BitManipulation && Chance(30))
        {
            Emit(Opcode.Srli, address, address, imm: 3);
            Emit(Opcode.Sh3add, address, address, DataPointer);
        }
        else Emit(Opcode.Add, address, address, Chance(50) ? DataPointer : StackPointer);
        var offset = _random.Next(-2048, 2033);
        if (Chance(50)) Emit(Pick(IntegerLoads), AnyDestination(), address, imm: offset);
        else Emit(Pick(IntegerStores), rs1: address, rs2: AnySource(), imm: offset);
    }

    private void Atomic()
    {
        var address = NonZeroDestination();
        Emit(Opcode.Addi, address, DataPointer, imm: 16 * _random.Next(-128, 127));
        var aqrl = _random.Next(4);
        switch (_random.Next(_options.CompareAndSwap ? 4 : 3))
        {
            case 0: // load-reserved, something that computes, store-conditional (which may fail by address)
                var wide = Chance(50);
                _reserved |= 1u << address;
                Emit(wide ? Opcode.LrD : Opcode.LrW, AnyDestination(), address, aqrl: aqrl);
                FromRow(_integerRows);
                if (Chance(10)) Emit(Opcode.Sd, rs1: address, rs2: AnySource());
                Emit(wide ? Opcode.ScD : Opcode.ScW, AnyDestination(), address, AnySource(), aqrl: aqrl);
                if (Chance(10)) Emit(wide ? Opcode.ScD : Opcode.ScW, AnyDestination(), address, AnySource());
                _reserved &= ~(1u << address);
                break;
            case 3:
                var size = _random.Next(3);
                var pair = AnyPair();
                if (pair != address && pair + 1 != address && Chance(50)) Emit(Opcode.Ld, pair, address); // so that the comparison sometimes succeeds
                if (size == 2) Emit(Opcode.AmocasQ, pair, address, _random.Next(16) * 2, aqrl: aqrl);
                else Emit(size == 1 ? Opcode.AmocasD : Opcode.AmocasW, pair, address, AnySource(), aqrl: aqrl);
                break;
            default:
                var opcode = (Chance(50) ? Opcode.AmoswapW : Opcode.AmoswapD) + (ushort)_random.Next(9);
                Emit(opcode, AnyDestination(), address, AnySource(), aqrl: aqrl);
                break;
        }
    }

    /// <summary>An even register that may be written with the one after it.</summary>
    private int AnyPair()
    {
        while (true)
        {
            var register = _random.Next(16) * 2;
            if (!IsReserved(register) && !IsReserved(register + 1)) return register;
        }
    }

    private void FloatControl()
    {
        switch (_random.Next(5))
        {
            case 0: Csr(Opcode.Csrrwi, AnyDestination(), _random.Next(5), 2); break; // a valid frm
            case 1: Csr(Pick([Opcode.Csrrs, Opcode.Csrrsi]), AnyDestination(), 0, _random.Next(1, 4)); break;
            case 2: Csr(Pick([Opcode.Csrrw, Opcode.Csrrs, Opcode.Csrrc]), AnyDestination(), AnySource(), 1); break;
            case 3: Csr(Pick([Opcode.Csrrwi, Opcode.Csrrsi, Opcode.Csrrci]), AnyDestination(), _random.Next(32), 1); break;
            default: // frflags; compare; fsflags
                var saved = NonZeroDestination();
                Csr(Opcode.Csrrs, saved, 0, 1);
                var single = Chance(50);
                var bank = single ? 0 : 16;
                _reserved |= 1u << saved;
                Emit(single ? Opcode.FltS : Opcode.FleD, AnyDestination(), bank + _random.Next(16), bank + _random.Next(16));
                _reserved &= ~(1u << saved);
                Csr(Opcode.Csrrw, 0, saved, 1);
                break;
        }
    }

    private void CacheOrFence()
    {
        switch (_random.Next(6))
        {
            case 0: Emit(Opcode.Fence, aqrl: _random.Next(1, 256)); break;
            case 1: Emit(Opcode.FenceTso); break;
            case 2: Emit(Opcode.Pause); break;
            case 3: Emit(Opcode.PrefetchR, rs1: AnySource(), imm: 32 * _random.Next(-64, 64)); break;
            case 4: Emit(Pick([Opcode.CboClean, Opcode.CboFlush]), rs1: DataPointer); break;
            default: Emit(Opcode.CboZero, rs1: Chance(50) ? DataPointer : StackPointer); break;
        }
    }

    // Control flow: only forward, save for loops that count down.

    private void Body(int most)
    {
        _depth++;
        for (var n = _random.Next(most + 1); n > 0; n--) Item();
        _depth--;
    }

    private void ControlFlow()
    {
        switch (_random.Next(8))
        {
            case 0: Loop(); break;
            case 1: Call(); break;
            case 2: ForwardJump(); break;
            case 3: IndirectJump(); break;
            case 4 when _options.Compressed: CompressedForward(); break;
            default: ForwardBranch(); break;
        }
    }

    private void ForwardBranch()
    {
        var at = _code.Count;
        var (opcode, rs1, rs2) = (Pick(BranchOpcodes), AnySource(), Chance(25) ? 0 : AnySource());
        Emit(0);
        Body(5);
        var offset = _code.Count - at;
        if (offset < 4096) Patch(at, Encoder.Encode(opcode, rs1: rs1, rs2: rs2, imm: offset));
        else Patch(at, Encoder.Encode(Opcode.Addi));
    }

    private void ForwardJump()
    {
        var at = _code.Count;
        var rd = Chance(50) ? 0 : AnyDestination();
        Emit(0);
        Body(3); // skipped, but decoded by who translates ahead
        Patch(at, Encoder.Encode(Opcode.Jal, rd, imm: _code.Count - at));
    }

    private void IndirectJump()
    {
        var target = NonZeroDestination();
        var at = _code.Count;
        Emit(Opcode.Auipc, target);
        Emit(0);
        Emit(Opcode.Jalr, AnyDestination(), target, imm: 0);
        Body(3);
        var offset = _code.Count - at;
        // Bit 0 of the target is ignored.
        if (offset < 2047) Patch(at + 4, Encoder.Encode(Opcode.Addi, target, target, imm: offset + _random.Next(2)));
        else
        {
            Patch(at + 4, Encoder.Encode(Opcode.Addi));
            Patch(at + 8, Encoder.Encode(Opcode.Addi));
        }
    }

    private void CompressedForward()
    {
        var at = _code.Count;
        var (jump, notZero, register) = (Chance(30), Chance(50), 8 + _random.Next(8));
        Emit16(0);
        Body(2);
        var offset = _code.Count - at;
        if (jump && offset < 2048) Patch16(at, Encoder.CompressedJump(offset));
        else if (offset < 256) Patch16(at, Encoder.CompressedBranch(notZero, register, offset));
        else Patch16(at, 0x0001); // c.nop
    }

    /// <summary>jal ra, function; j over; function: body; ret; over:</summary>
    private void Call()
    {
        if (IsReserved(Link))
        {
            ForwardBranch();
            return;
        }
        Emit(Opcode.Jal, Link, imm: 8);
        var over = _code.Count;
        Emit(0);
        _reserved |= 1u << Link;
        Body(6);
        _reserved &= ~(1u << Link);
        if (_options.Compressed && Chance(50)) Emit16(0x8082); // c.jr ra
        else Emit(Opcode.Jalr, 0, Link);
        Patch(over, Encoder.Encode(Opcode.Jal, 0, imm: _code.Count - over));
    }

    private void Loop()
    {
        var counter = !IsReserved(OuterCounter) ? OuterCounter : InnerCounter;
        if (IsReserved(counter))
        {
            ForwardBranch();
            return;
        }
        Emit(Opcode.Addi, counter, 0, imm: _random.Next(1, 7));
        var head = _code.Count;
        _reserved |= 1u << counter;
        Body(8);
        _reserved &= ~(1u << counter);
        Emit(Opcode.Addi, counter, counter, imm: -1);
        var offset = head - _code.Count;
        if (offset >= -4096) Emit(Opcode.Bne, rs1: counter, rs2: 0, imm: offset);
    }

    /// <summary>Something that ends the program with a trap, unless a branch goes round it.</summary>
    private void Trapping()
    {
        switch (_random.Next(8))
        {
            case 0: Emit(Pick(IntegerLoads), AnyDestination(), 0, imm: _random.Next(-2048, 2048)); break;
            case 1: Emit(Pick(IntegerStores), rs1: 0, rs2: AnySource(), imm: _random.Next(-2048, 2048)); break;
            case 2: // crosses the end of the data
                Emit(Opcode.Addi, 5, DataPointer, imm: 2047);
                Emit(Chance(50) ? Opcode.Ld : Opcode.Sd, IsReserved(6) ? 0 : 6, 5, 7, imm: 2047 - _random.Next(8));
                break;
            case 3: Emit(Opcode.AmoaddW, AnyDestination(), DataPointer, AnySource()); break;
            case 4:
                Emit(Opcode.Addi, 5, DataPointer, imm: _random.Next(1, 4));
                Emit(Pick([Opcode.AmoaddW, Opcode.LrW, Opcode.ScW]), AnyDestination(), 5, 0);
                break;
            case 5: Emit(Opcode.Ebreak); break;
            case 6: Emit(0xffff_ffff); break;
            default: Csr(Opcode.Csrrwi, 0, _random.Next(5, 8), 2); break; // a reserved rounding mode: what uses it traps
        }
    }
}
