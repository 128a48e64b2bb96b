using Vivarium.Machine.State;

namespace Vivarium.Machine.Tests.State;

public class StateArchiveTests
{
    private sealed class Part(string name, ulong value = 0, int version = 1) : IStateful
    {
        public ulong Value { get; private set; } = value;

        public string SectionName => name;

        public int SectionVersion => version;

        public void Save(StateWriter writer)
        {
            writer.Write(Value);
            writer.Write("text ✓");
            writer.Write(true);
            writer.WriteWords([1u, 2u, 3u]);
        }

        public void Load(StateReader reader)
        {
            Value = reader.ReadUInt64();
            Assert.Equal("text ✓", reader.ReadString());
            Assert.True(reader.ReadBool());
            uint[] words = new uint[3];
            reader.ReadWords(words);
            Assert.Equal([1u, 2u, 3u], words);
        }
    }

    private static byte[] Save(params Part[] parts)
    {
        var stream = new MemoryStream();
        StateArchive.Save(stream, parts);
        return stream.ToArray();
    }

    [Fact]
    public void WhatIsSavedIsLoadedInAnyOrder()
    {
        byte[] saved = Save(new Part("a", 1), new Part("b", 2));
        Part a = new("a"), b = new("b");
        StateArchive.Load(new MemoryStream(saved), [b, a]);
        Assert.Equal((1ul, 2ul), (a.Value, b.Value));
    }

    [Fact]
    public void AnotherMachineIsRefused()
    {
        byte[] saved = Save(new Part("a"), new Part("b"));
        Assert.Contains("'b'", Assert.Throws<StateException>(() => StateArchive.Load(new MemoryStream(saved), [new Part("a")])).Message);
        Assert.Contains("'c'", Assert.Throws<StateException>(() => StateArchive.Load(new MemoryStream(saved), [new Part("a"), new Part("b"), new Part("c")])).Message);
        Assert.Contains("version 2", Assert.Throws<StateException>(() => StateArchive.Load(new MemoryStream(Save(new Part("a", 0, 2))), [new Part("a")])).Message);
    }

    /// <summary>Every single flipped bit and every cut is found.</summary>
    [Fact]
    public void DamageIsRefused()
    {
        byte[] saved = Save(new Part("part", 0x1234));
        for (int bit = 0; bit < saved.Length * 8; bit++)
        {
            byte[] damaged = [.. saved];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Throws<StateException>(() => StateArchive.Load(new MemoryStream(damaged), [new Part("part")]));
        }

        for (int length = 0; length < saved.Length; length++)
            Assert.Throws<StateException>(() => StateArchive.Load(new MemoryStream(saved, 0, length), [new Part("part")]));
    }
}
