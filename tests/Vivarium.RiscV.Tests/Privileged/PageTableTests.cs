using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;
using static Vivarium.RiscV.Tests.Privileged.PrivilegedGuest;
using static Vivarium.Testing.Encoder;

namespace Vivarium.RiscV.Tests.Privileged;

/// <summary>Virtual memory, case by case, through real loads, stores and fetches.</summary>
public sealed class PageTableTests : IDisposable
{
    private const ulong Page = 0x40_0000_0000 - 0x3000, CodePage = 0x1_0000; // both in Sv39's lower half, if the first is below 2^38
    private readonly PrivilegedGuest _guest = new();

    public void Dispose() => _guest.Dispose();

    private static readonly uint Lb = Encode(Opcode.Lb, rd: 5, rs1: 6), Sb = Encode(Opcode.Sb, rs1: 6, rs2: 7), Nop = Encode(Opcode.Addi);

    private void Prepare(int levels, PrivilegeMode mode, ulong codeFlags = R | X | A | D)
    {
        _guest.Enter(PrivilegeMode.Machine);
        _guest.UsePaging(levels);
        _guest.Map(levels, CodePage, Code, V | codeFlags | (mode == PrivilegeMode.User ? U : 0));
        _guest.Enter(mode);
    }

    private ExecutionExit? Access(AccessKind kind, ulong address)
    {
        _guest.Hart[6] = address;
        if (kind != AccessKind.Fetch) return _guest.Execute(kind == AccessKind.Load ? Lb : Sb, CodePage);
        _guest.Hart.Pc = address;
        return _guest.Interpreter.Step(_guest.Hart);
    }

    private static void AssertFault(ExecutionExit? exit, AccessKind kind, ulong address, bool access = false)
    {
        TrapCause[] causes = access
            ? [TrapCause.LoadAccessFault, TrapCause.StoreAccessFault, TrapCause.InstructionAccessFault]
            : [TrapCause.LoadPageFault, TrapCause.StorePageFault, TrapCause.InstructionPageFault];
        Assert.NotNull(exit);
        Assert.Equal((causes[(int)kind], address), (exit.Value.Cause, exit.Value.Value));
    }

    /// <summary>Every combination of the low PTE bits, mode, SUM, MXR, ADUE and access, against the manual's steps written down another way.</summary>
    [Theory]
    [InlineData(3), InlineData(4), InlineData(5)]
    public void RightsAreThoseOfTheManual(int levels)
    {
        foreach (var mode in new[] { PrivilegeMode.User, PrivilegeMode.Supervisor })
        {
            for (var setting = 0; setting < 8; setting++)
            {
                var (sum, mxr, adue) = ((setting & 1) != 0, (setting & 2) != 0, (setting & 4) != 0);
                Prepare(levels, mode);
                _guest[Mstatus] = (_guest[Mstatus] & ~(Sum | Mxr)) | (sum ? Sum : 0) | (mxr ? Mxr : 0);
                _guest[Menvcfg] = adue ? 1UL << 61 : 0;
                _guest.Write32(Data, Nop);
                _guest.Hart[7] = Nop & 0xff; // a store leaves the instruction what it is
                for (var bits = 0UL; bits < 256; bits++)
                {
                    if ((bits & G) != 0) continue;
                    var leaf = _guest.Map(levels, Page, Data, bits);
                    foreach (var kind in Enum.GetValues<AccessKind>())
                    {
                        _guest.Write(leaf, Data >> 12 << 10 | bits);
                        _guest.Unit.FlushTranslations();
                        var exit = Access(kind, Page);

                        bool Has(ulong flag) => (bits & flag) != 0;
                        var pointer = !Has(R) && !Has(X); // at the last level a pointer is a fault
                        var right = kind switch { AccessKind.Load => Has(R) || (mxr && Has(X)), AccessKind.Store => Has(W), _ => Has(X) };
                        var user = mode == PrivilegeMode.User ? Has(U) : !Has(U) || (sum && kind != AccessKind.Fetch);
                        var accessed = Has(A) && (kind != AccessKind.Store || Has(D));
                        var expected = Has(V) && !(Has(W) && !Has(R)) && !pointer && right && user && (accessed || adue);
                        if (expected != (exit is null))
                            Assert.Fail($"{mode} bits {bits:x2} sum {sum} mxr {mxr} adue {adue} {kind}: {exit}");
                        if (!expected) AssertFault(exit, kind, Page);
                        var updated = expected ? bits | A | (kind == AccessKind.Store ? D : 0) : bits;
                        Assert.Equal(Data >> 12 << 10 | updated, _guest.Read(leaf));
                    }
                }
            }
        }
    }

    [Theory]
    [InlineData(3), InlineData(4), InlineData(5)]
    public void SuperpagesTranslateAndMustBeAligned(int levels)
    {
        Prepare(levels, PrivilegeMode.Supervisor);
        for (var level = 1; level < levels; level++)
        {
            var size = 1UL << (12 + 9 * level);
            var virtualBase = size; // beside the code page's own table
            var physicalBase = Ram & ~(size - 1);
            _guest.Map(levels, virtualBase, physicalBase, V | R | W | A | D, level);
            _guest.Unit.FlushTranslations();
            _guest.Write(Data + 0x238, 0x77);
            Assert.Null(Access(AccessKind.Load, virtualBase + (Data + 0x238 - physicalBase)));
            Assert.Equal(0x77UL, _guest.Hart[5]);
            for (var bit = 0; bit < 9 * level; bit++)
            {
                _guest.Map(levels, virtualBase, physicalBase ^ 0x1000UL << bit, V | R | W | A | D, level);
                _guest.Unit.FlushTranslations();
                AssertFault(Access(AccessKind.Load, virtualBase), AccessKind.Load, virtualBase);
            }
        }
    }

    [Fact]
    public void NapotMapsSixtyFourKilobytes()
    {
        Prepare(3, PrivilegeMode.Supervisor);
        for (var i = 0UL; i < 16; i++)
        {
            _guest.Map(3, 0x20_0000 + i * 0x1000, Ram + 0x8000, V | R | A | D | N);
            _guest.Write32(Ram + i * 0x1000 + 0x10, (uint)i + 1);
        }
        for (var i = 0UL; i < 16; i++)
        {
            if (i == 0) continue; // that page holds the code
            Assert.Null(Access(AccessKind.Load, 0x20_0010 + i * 0x1000));
            Assert.Equal(i + 1, _guest.Hart[5]);
        }
        // Other sizes are reserved, and so is N in a superpage.
        foreach (var physical in new[] { Ram, Ram + 0x4000, Ram + 0x9000, Ram + 0xc000 })
        {
            _guest.Map(3, 0x20_0000, physical, V | R | A | D | N);
            _guest.Unit.FlushTranslations();
            AssertFault(Access(AccessKind.Load, 0x20_0000), AccessKind.Load, 0x20_0000);
        }
    }

    [Fact]
    public void ReservedBitsFault()
    {
        Prepare(3, PrivilegeMode.Supervisor);
        for (var bit = 54; bit < 64; bit++)
        {
            _guest[Menvcfg] = 0;
            _guest.Map(3, Page, Data + 0x1000, V | R | A | 1UL << bit); // no page number of a NAPOT region
            _guest.Unit.FlushTranslations();
            AssertFault(Access(AccessKind.Load, Page), AccessKind.Load, Page);
        }
        _guest[Menvcfg] = 1UL << 62; // PBMTE: NC and IO are fine, 3 is reserved
        for (var type = 0UL; type < 4; type++)
        {
            _guest.Map(3, Page, Data, V | R | A | type << 61);
            _guest.Unit.FlushTranslations();
            if (type == 3) AssertFault(Access(AccessKind.Load, Page), AccessKind.Load, Page);
            else Assert.Null(Access(AccessKind.Load, Page));
        }
        // Pointers have no A, D, U, N or PBMT.
        foreach (var flag in new[] { A, D, U, N, 1UL << 61 })
        {
            Prepare(3, PrivilegeMode.Supervisor);
            _guest.Map(3, Page, Data, V | R | A);
            var pointer = Root + (Page >> 30 & 511) * 8;
            _guest.Write(pointer, _guest.Read(pointer) | flag);
            _guest.Unit.FlushTranslations();
            AssertFault(Access(AccessKind.Load, Page), AccessKind.Load, Page);
        }
    }

    [Theory]
    [InlineData(3, 38), InlineData(4, 47), InlineData(5, 56)]
    public void AddressesMustBeSignExtended(int levels, int signBit)
    {
        Prepare(levels, PrivilegeMode.Supervisor);
        var high = ulong.MaxValue << signBit;
        _guest.Map(levels, high & ((2UL << signBit) - 1), Data, V | R | A);
        Assert.Null(Access(AccessKind.Load, high));
        for (var bit = signBit + 1; bit < 64; bit++)
        {
            AssertFault(Access(AccessKind.Load, high ^ 1UL << bit), AccessKind.Load, high ^ 1UL << bit);
            AssertFault(Access(AccessKind.Fetch, CodePage | 1UL << bit), AccessKind.Fetch, CodePage | 1UL << bit);
        }
    }

    [Fact]
    public void AccessesAcrossPagesTrapAtTheFaultingPart()
    {
        Prepare(3, PrivilegeMode.Supervisor);
        _guest.Map(3, Page, Data, V | R | W | A | D);
        var end = Page + 0x1000;
        foreach (var (opcode, size) in new[] { (Opcode.Lh, 2UL), (Opcode.Lw, 4UL), (Opcode.Ld, 8UL), (Opcode.Sh, 2UL), (Opcode.Sw, 4UL), (Opcode.Sd, 8UL) })
        {
            var kind = opcode is Opcode.Lh or Opcode.Lw or Opcode.Ld ? AccessKind.Load : AccessKind.Store;
            for (var back = 1UL; back < size; back++)
            {
                _guest.Hart[6] = end - back;
                _guest.Write(Data + 0xff8, 0x1122334455667788);
                AssertFault(_guest.Execute(Encode(opcode, rd: 5, rs1: 6, rs2: 7), CodePage), kind, end);
                Assert.Equal(0x1122334455667788UL, _guest.Read(Data + 0xff8));
            }
        }
        // With both there, the halves lie wherever they are mapped.
        _guest.Map(3, end, Data - 0x2000, V | R | W | A | D);
        _guest.Unit.FlushTranslations();
        _guest.Hart[6] = end - 3;
        _guest.Hart[7] = 0x0123456789abcdef;
        Assert.Null(_guest.Execute(Encode(Opcode.Sd, rs1: 6, rs2: 7), CodePage));
        Assert.Null(_guest.Execute(Encode(Opcode.Ld, rd: 8, rs1: 6), CodePage));
        Assert.Equal(_guest.Hart[7], _guest.Hart[8]);
        Assert.Equal(0xabcdefUL, _guest.Read(Data + 0xff8) >> 40);
        Assert.Equal(0x0123456789UL, _guest.Read(Data - 0x2000) & 0xff_ffff_ffff);
    }

    [Fact]
    public void InstructionsAcrossPagesTrapAtTheSecondPage()
    {
        Prepare(3, PrivilegeMode.Supervisor);
        _guest.Map(3, Page, Data, V | R | X | A);
        _guest.Write32(Data + 0xffc, 0x0001 | Nop << 16); // c.nop, then the first half of a 32-bit instruction
        _guest.Hart.Pc = Page + 0xffc;
        Assert.Null(_guest.Interpreter.Step(_guest.Hart));
        AssertFault(_guest.Interpreter.Step(_guest.Hart), AccessKind.Fetch, Page + 0x1000);
        Assert.Equal(Page + 0xffe, _guest.Hart.Pc);
        _guest.Map(3, Page + 0x1000, Data + 0x1000, V | R | X | A);
        _guest.Write32(Data + 0x1000, Nop >> 16);
        Assert.Null(_guest.Interpreter.Step(_guest.Hart));
        Assert.Equal(Page + 0x1002, _guest.Hart.Pc);
    }

    [Fact]
    public void AtomicsFaultAsStores()
    {
        Prepare(3, PrivilegeMode.Supervisor);
        _guest.Map(3, Page, Data, V | R | A | D);
        _guest.Hart[6] = Page;
        AssertFault(_guest.Execute(Encode(Opcode.AmoaddD, rd: 5, rs1: 6, rs2: 7), CodePage), AccessKind.Store, Page);
        Assert.Null(_guest.Execute(Encode(Opcode.LrD, rd: 5, rs1: 6), CodePage));
        AssertFault(_guest.Execute(Encode(Opcode.ScD, rd: 5, rs1: 6, rs2: 7), CodePage), AccessKind.Store, Page);
        _guest.Hart[6] = Page + 0x1000;
        AssertFault(_guest.Execute(Encode(Opcode.LrW, rd: 5, rs1: 6), CodePage), AccessKind.Load, Page + 0x1000);
        AssertFault(_guest.Execute(Encode(Opcode.AmoswapW, rd: 5, rs1: 6, rs2: 7), CodePage), AccessKind.Store, Page + 0x1000);
    }

    [Fact]
    public void WhatIsNotThereIsAnAccessFault()
    {
        Prepare(3, PrivilegeMode.Supervisor);
        _guest.Map(3, Page, 0x4000_0000, V | R | W | X | A | D);
        foreach (var kind in Enum.GetValues<AccessKind>()) AssertFault(Access(kind, Page), kind, Page, access: true);
        // Page tables outside RAM too.
        var pointer = Root + (Page >> 30 & 511) * 8;
        _guest.Write(pointer, 0x4000_0000UL >> 12 << 10 | V);
        _guest.Unit.FlushTranslations();
        foreach (var kind in Enum.GetValues<AccessKind>()) AssertFault(Access(kind, Page), kind, Page, access: true);
        // Devices take aligned loads, no fetches and no atomics.
        _guest.Map(3, 0x30_0000, 0x1000_0000, V | R | W | X | A | D);
        _guest.Hart[6] = 0x30_0018;
        Assert.Null(_guest.Execute(Encode(Opcode.Lw, rd: 5, rs1: 6), CodePage));
        Assert.Equal(0x18UL, _guest.Hart[5]);
        AssertFault(Access(AccessKind.Fetch, 0x30_0000), AccessKind.Fetch, 0x30_0000, access: true);
        _guest.Hart[6] = 0x30_0018;
        AssertFault(_guest.Execute(Encode(Opcode.AmoaddW, rd: 5, rs1: 6, rs2: 7), CodePage), AccessKind.Store, 0x30_0018, access: true);
        _guest.Hart[6] = 0x30_0019;
        Assert.Equal(TrapCause.LoadAddressMisaligned, _guest.Execute(Encode(Opcode.Lw, rd: 5, rs1: 6), CodePage)!.Value.Cause);
    }

    /// <summary>After sfence.vma, in each of its forms, the new page table holds, for pages and pieces of superpages.</summary>
    [Theory]
    [InlineData(false, false, 0), InlineData(true, false, 0), InlineData(true, true, 0), InlineData(true, false, 1), InlineData(true, true, 1)]
    public void FencesMakeNewEntriesSeen(bool byAddress, bool byAsid, int level)
    {
        Prepare(3, PrivilegeMode.Supervisor);
        const ulong at = 0x4000_0000 + 0x8000;
        _guest.Map(3, 0x4000_0000 + (level == 0 ? 0x8000UL : 0), level == 0 ? Data : Ram, V | R | W | A | D, level);
        _guest.Write(Data, 1);
        Assert.Null(Access(AccessKind.Load, at));
        Assert.Null(Access(AccessKind.Store, at));
        _guest.Map(3, 0x4000_0000 + (level == 0 ? 0x8000UL : 0), level == 0 ? Data : Ram, 0, level);
        _guest.Hart[8] = at - (level == 0 ? 0UL : 0x5000); // any address of the superpage will do
        var opcode = byAsid ? Opcode.SinvalVma : Opcode.SfenceVma;
        Assert.Null(_guest.Execute(Encode(opcode, rs1: byAddress ? 8 : 0, rs2: byAsid ? 9 : 0), CodePage));
        AssertFault(Access(AccessKind.Load, at), AccessKind.Load, at);
        AssertFault(Access(AccessKind.Store, at), AccessKind.Store, at);
    }

    [Fact]
    public void MprvUsesTheModeOfMppForDataOnly()
    {
        Prepare(3, PrivilegeMode.Supervisor);
        _guest.Map(3, Page, Data, V | R | W | U | A | D);
        _guest.Write(Data, 0x55);
        _guest.Enter(PrivilegeMode.Machine);
        _guest.Hart[6] = Page;
        foreach (var (mpp, sum, works) in new[] { (0UL, false, true), (1UL, false, false), (1UL, true, true) })
        {
            _guest[Mstatus] = mpp << 11 | Mprv | (sum ? Sum : 0);
            var exit = _guest.Execute(Lb); // fetched without translation
            if (works) Assert.Null(exit);
            else AssertFault(exit, AccessKind.Load, Page);
        }
        _guest[Mstatus] = 3UL << 11 | Mprv;
        AssertFault(_guest.Execute(Lb), AccessKind.Load, Page, access: true);
    }

    [Fact]
    public void SatpTakesOnlyModesThatExist()
    {
        using var minimal = new PrivilegedGuest(HartFeatures.Minimal);
        minimal[Satp] = 8UL << 60 | 0xffffUL << 44 | 5;
        Assert.Equal(8UL << 60 | 5, minimal[Satp]); // no ASIDs
        foreach (var mode in new ulong[] { 1, 7, 9, 10, 11, 15 })
        {
            minimal[Satp] = mode << 60 | 9;
            Assert.Equal(8UL << 60 | 5, minimal[Satp]);
        }
        _guest[Satp] = 10UL << 60 | 0xffffUL << 44 | (1UL << 44) - 1;
        Assert.Equal(10UL << 60 | 0xffffUL << 44 | (1UL << 44) - 1, _guest[Satp]);
    }
}
