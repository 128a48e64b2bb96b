using System.Buffers.Binary;
using System.Text;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Profiling;
using static Vivarium.Translation.Tests.Engine.EngineGuest;

namespace Vivarium.Translation.Tests.Engine;

public class JitDumpTests
{
    [Fact]
    public void FileHoldsNamesAndCodeOfBlocks()
    {
        string directory = Path.Combine(Path.GetTempPath(), $"viv-jitdump-{Guid.NewGuid():n}");
        try
        {
            string path;
            string[] expected = ["first", "second [file]", $"guest_{Code + 0x200:x}"];
            using (var dump = new JitDump(directory))
            {
                path = dump.Path;
                using var guest = new EngineGuest();
                using var engine = new TranslationEngine(null, new TranslationOptions { JitDump = dump });
                engine.NameCode = pc => pc == Code ? "first" : pc == Code + 0x100 ? "second [file]" : null;
                for (uint i = 0; i < 3; i++)
                {
                    guest.Write(Code + 0x100 * i, I(Opcode.Addi, 10, 10, (int)i), Ecall);
                    using Hart hart = guest.NewHart(Code + 0x100 * i);
                    engine.Run(hart);
                }
            }
            byte[] file = File.ReadAllBytes(path);
            Assert.Equal(0x4A695444u, Get32(0));
            Assert.Equal(1u, Get32(4));
            Assert.Equal(62u, Get32(12)); // EM_X86_64
            Assert.Equal((uint)Environment.ProcessId, Get32(20));
            int at = (int)Get32(8);
            ulong time = Get64(24);
            for (ulong index = 0; index < 3; index++)
            {
                Assert.Equal(0u, Get32(at)); // JIT_CODE_LOAD
                int length = (int)Get32(at + 4), codeLength = (int)Get64(at + 40);
                Assert.True(Get64(at + 8) >= time);
                time = Get64(at + 8);
                Assert.Equal((uint)Environment.ProcessId, Get32(at + 16));
                Assert.Equal(Get64(at + 24), Get64(at + 32));
                Assert.Equal(index, Get64(at + 48));
                int nameLength = file.AsSpan(at + 56).IndexOf((byte)0);
                Assert.Equal(expected[index], Encoding.UTF8.GetString(file, at + 56, nameLength));
                Assert.Equal(length, 56 + nameLength + 1 + codeLength);
                var decoder = Iced.Intel.Decoder.Create(64, file.AsSpan(at + 56 + nameLength + 1, codeLength).ToArray());
                Assert.NotEqual(Iced.Intel.Code.INVALID, decoder.Decode().Code);
                at += length;
            }
            Assert.Equal(3u, Get32(at)); // JIT_CODE_CLOSE
            Assert.Equal(file.Length, at + 16);

            uint Get32(int i) => BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(i));
            ulong Get64(int i) => BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(i));
        }
        finally
        {
            if (Directory.Exists(directory)) Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public void DirectoryThatCannotBeMadeIsAnIoError() => Assert.ThrowsAny<IOException>(() => new JitDump("/proc/no-such-place/x"));
}
