namespace Vivarium.Translation.X86;

/// <summary>
/// Vector instructions as data: bits 7..0 opcode, 9..8 map, 13..12 prefix (as VEX numbers them), 16 the W bit of the EVEX form,
/// 17 the W bit of the VEX form, 19..18 log2 of the bytes of a memory operand in units of 4 (EVEX displacement unit: 4, 8, 16),
/// 20 there is a legacy SSE form, 21 there is an EVEX form.
/// </summary>
/// <remarks>Named as the legacy mnemonic; <c>Assembler.Vex</c> emits the VEX or EVEX form, <c>Assembler.Sse</c> the legacy one.</remarks>
public enum VecOp : uint
{
    // Parts of the encodings below.
    _0F = 1 << 8, _38 = 2 << 8, _3A = 3 << 8, _66 = 1 << 12, _F3 = 2 << 12, _F2 = 3 << 12,
    _W1 = 1 << 16, _VexW1 = 1 << 17, _8 = 1 << 18, _16 = 2 << 18, _Sse = 1 << 20, _Evex = 1 << 21,
    _ss = _0F | _F3 | _Sse | _Evex, _sd = _0F | _F2 | _W1 | _8 | _Sse | _Evex,
    _ps = _0F | _16 | _Sse | _Evex, _pd = _0F | _66 | _W1 | _16 | _Sse | _Evex,
    _fmaS = _38 | _66 | _Evex, _fmaD = _38 | _66 | _W1 | _VexW1 | _8 | _Evex,

    // Scalar arithmetic.
    Sqrtss = 0x51 | _ss, Sqrtsd = 0x51 | _sd, Addss = 0x58 | _ss, Addsd = 0x58 | _sd, Mulss = 0x59 | _ss, Mulsd = 0x59 | _sd,
    Subss = 0x5C | _ss, Subsd = 0x5C | _sd, Minss = 0x5D | _ss, Minsd = 0x5D | _sd, Divss = 0x5E | _ss, Divsd = 0x5E | _sd,
    Maxss = 0x5F | _ss, Maxsd = 0x5F | _sd,
    Cvtss2sd = 0x5A | _ss, Cvtsd2ss = 0x5A | _sd,
    Ucomiss = 0x2E | _0F | _Sse | _Evex, Ucomisd = 0x2E | _0F | _66 | _W1 | _8 | _Sse | _Evex,
    Comiss = 0x2F | _0F | _Sse | _Evex, Comisd = 0x2F | _0F | _66 | _W1 | _8 | _Sse | _Evex,
    Roundss = 0x0A | _3A | _66 | _Sse, Roundsd = 0x0B | _3A | _66 | _8 | _Sse,
    Rndscaless = 0x0A | _3A | _66 | _Evex, Rndscalesd = 0x0B | _3A | _66 | _W1 | _8 | _Evex,

    // Fused multiply-add, named by operand order: 213 is d = a * d + b, 132 is d = d * b + a, 231 is d = a * b + d.
    Fmadd132ss = 0x99 | _fmaS, Fmadd132sd = 0x99 | _fmaD, Fmadd213ss = 0xA9 | _fmaS, Fmadd213sd = 0xA9 | _fmaD,
    Fmadd231ss = 0xB9 | _fmaS, Fmadd231sd = 0xB9 | _fmaD,
    Fmsub132ss = 0x9B | _fmaS, Fmsub132sd = 0x9B | _fmaD, Fmsub213ss = 0xAB | _fmaS, Fmsub213sd = 0xAB | _fmaD,
    Fmsub231ss = 0xBB | _fmaS, Fmsub231sd = 0xBB | _fmaD,
    Fnmadd132ss = 0x9D | _fmaS, Fnmadd132sd = 0x9D | _fmaD, Fnmadd213ss = 0xAD | _fmaS, Fnmadd213sd = 0xAD | _fmaD,
    Fnmadd231ss = 0xBD | _fmaS, Fnmadd231sd = 0xBD | _fmaD,
    Fnmsub132ss = 0x9F | _fmaS, Fnmsub132sd = 0x9F | _fmaD, Fnmsub213ss = 0xAF | _fmaS, Fnmsub213sd = 0xAF | _fmaD,
    Fnmsub231ss = 0xBF | _fmaS, Fnmsub231sd = 0xBF | _fmaD,

    // Moves. Movss and Movsd: load (zeroing the rest), or merge of registers; the Store forms take memory.
    Movss = 0x10 | _ss, MovssStore = 0x11 | _ss, Movsd = 0x10 | _sd, MovsdStore = 0x11 | _sd,
    Movups = 0x10 | _ps, MovupsStore = 0x11 | _ps, Movaps = 0x28 | _ps, MovapsStore = 0x29 | _ps,
    Movq = 0x7E | _0F | _F3 | _W1 | _8 | _Sse | _Evex, MovqStore = 0xD6 | _0F | _66 | _W1 | _8 | _Sse | _Evex,

    // Bitwise and integer, 128 bits.
    Andps = 0x54 | _ps, Andnps = 0x55 | _ps, Orps = 0x56 | _ps, Xorps = 0x57 | _ps,
    Andpd = 0x54 | _pd, Andnpd = 0x55 | _pd, Orpd = 0x56 | _pd, Xorpd = 0x57 | _pd,
    Pcmpeqd = 0x76 | _0F | _66 | _16 | _Sse, Pshufd = 0x70 | _0F | _66 | _16 | _Sse | _Evex,
    Psllq = 0xF3 | _0F | _66 | _16 | _Sse, Psrlq = 0xD3 | _0F | _66 | _16 | _Sse,
    Unpcklps = 0x14 | _ps, Insertps = 0x21 | _3A | _66 | _Sse | _Evex,
    Blendps = 0x0C | _3A | _66 | _16 | _Sse, Blendpd = 0x0D | _3A | _66 | _16 | _Sse,
    Blendvps = 0x4A | _3A | _66 | _16, Blendvpd = 0x4B | _3A | _66 | _16,
    Cmpss = 0xC2 | _0F | _F3 | _Sse, Cmpsd = 0xC2 | _0F | _F2 | _8 | _Sse,
    Pclmulqdq = 0x44 | _3A | _66 | _16 | _Sse, Pshufb = 0x00 | _38 | _66 | _16 | _Sse,
    Ternlogd = 0x25 | _3A | _66 | _16 | _Evex, Ternlogq = 0x25 | _3A | _66 | _W1 | _16 | _Evex,
}

/// <summary>Vector instructions with a general register or 4 or 8 bytes of memory on one side, encoded as <see cref="VecOp"/>.</summary>
public enum VecGprOp : uint
{
    /// <summary>movd or movq from a general register.</summary>
    MovFrom = 0x6E | VecOp._0F | VecOp._66 | VecOp._Sse | VecOp._Evex,
    /// <summary>movd or movq to a general register.</summary>
    MovTo = 0x7E | VecOp._0F | VecOp._66 | VecOp._Sse | VecOp._Evex,
    Cvtsi2ss = 0x2A | VecOp._0F | VecOp._F3 | VecOp._Sse | VecOp._Evex, Cvtsi2sd = 0x2A | VecOp._0F | VecOp._F2 | VecOp._Sse | VecOp._Evex,
    Cvtss2si = 0x2D | VecOp._0F | VecOp._F3 | VecOp._Sse | VecOp._Evex, Cvtsd2si = 0x2D | VecOp._0F | VecOp._F2 | VecOp._Sse | VecOp._Evex,
    Cvttss2si = 0x2C | VecOp._0F | VecOp._F3 | VecOp._Sse | VecOp._Evex, Cvttsd2si = 0x2C | VecOp._0F | VecOp._F2 | VecOp._Sse | VecOp._Evex,
    // AVX-512F: always EVEX.
    Cvtusi2ss = 0x7B | VecOp._0F | VecOp._F3 | VecOp._Evex, Cvtusi2sd = 0x7B | VecOp._0F | VecOp._F2 | VecOp._Evex,
    Cvtss2usi = 0x79 | VecOp._0F | VecOp._F3 | VecOp._Evex, Cvtsd2usi = 0x79 | VecOp._0F | VecOp._F2 | VecOp._Evex,
    Cvttss2usi = 0x78 | VecOp._0F | VecOp._F3 | VecOp._Evex, Cvttsd2usi = 0x78 | VecOp._0F | VecOp._F2 | VecOp._Evex,
    /// <summary>pextrd/q general, xmm, lane.</summary>
    Pextr = 0x16 | VecOp._3A | VecOp._66 | VecOp._Sse | VecOp._Evex,
    /// <summary>pinsrd/q xmm, xmm, general, lane.</summary>
    Pinsr = 0x22 | VecOp._3A | VecOp._66 | VecOp._Sse | VecOp._Evex,
}
