using Iced.Intel;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;
using static Vivarium.Translation.Tests.Engine.EngineGuest;
using Opcode = Vivarium.RiscV.Isa.Opcode;

namespace Vivarium.Translation.Tests.Engine;

public sealed unsafe class TableJumpTests
{
    /// <summary>A kick that comes between the look into the jump table and the jump must make the thread look again: the slot that it has read leads
    /// on, maybe into a loop that looks into no table any more.</summary>
    [Fact]
    public void KickedLookupsBeginAgain()
    {
        using var guest = new EngineGuest();
        guest.Write(EngineGuest.Code, I(Opcode.Addi, 10, 10, 1), I(Opcode.Jalr, 0, 5, 0));
        using var cache = new CodeCache();
        using var arenas = new ArenaSet(cache);
        var translator = new BlockTranslator(cache);
        translator.Use(arenas);
        BlockHeader* block = translator.Translate(guest.Window, EngineGuest.Code, new BlockTable(), new TranslationOptions(), new Statistics());

        byte[] code = new ReadOnlySpan<byte>((void*)block->Entry, (int)(block->CodeEnd - block->Entry)).ToArray();
        Decoder decoder = Decoder.Create(64, code);
        decoder.IP = block->Entry;
        var instructions = new List<Instruction>();
        while (decoder.IP < block->CodeEnd) instructions.Add(decoder.Decode());
        int jump = instructions.FindIndex(i => i.Code == Iced.Intel.Code.Jmp_rm64);
        int first = instructions.FindLastIndex(jump, i => i.Mnemonic == Mnemonic.Lea && i.Op0Register == Register.ECX);
        Assert.True(first >= 0 && jump == first + 7);
        for (int i = 0; i < instructions.Count; i++)
        {
            // The third instruction takes the table's address.
            ulong expected = i > first + 2 && i <= jump ? instructions[first].IP : instructions[i].IP;
            Assert.Equal(expected, TableJump.Restart(block, instructions[i].IP));
        }
    }
}
