using System.Buffers.Binary;
using Vivarium.Translation.Optimizing.Llvm;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>The reader of LLVM's section of patch points: it believes nothing.</summary>
public sealed class StackMapTests
{
    [Fact]
    public void LocationsAreRead()
    {
        StackMapRecord[] records = StackMap.Read(Section());
        Assert.Equal(2, records.Length);
        Assert.Equal((77UL, 24), (records[0].Id, records[0].Offset));
        Assert.Equal(
            [
                new StackMapLocation(StackMapKind.Register, 8, 12, 0), new StackMapLocation(StackMapKind.Indirect, 8, 6, -40),
                new StackMapLocation(StackMapKind.Constant, 8, 0, 123456789012345), new StackMapLocation(StackMapKind.Constant, 8, 0, -5),
            ], records[0].Locations);
        Assert.Equal((78UL, 40), (records[1].Id, records[1].Offset));
        Assert.Single(records[1].Locations);
        Assert.Empty(StackMap.Read([]));
    }

    [Fact]
    public void DamagedSectionsAreRefusedOrReadWithinTheirBounds()
    {
        byte[] section = Section();
        for (int length = 1; length < section.Length - 4; length++) Assert.Throws<InvalidOperationException>(() => StackMap.Read(section.AsSpan(0, length)));
        var random = new Random(3);
        for (int n = 0; n < 20_000; n++)
        {
            byte[] damaged = (byte[])section.Clone();
            for (int k = random.Next(1, 4); k > 0; k--) damaged[random.Next(damaged.Length)] = (byte)(random.Next(2) == 0 ? 0xFF : random.Next(256));
            try
            {
                StackMap.Read(damaged);
            }
            catch (InvalidOperationException)
            {
            }
        }
    }

    private static byte[] Section()
    {
        var bytes = new List<byte>();
        Put(3, 4);
        Put(1, 4); // functions
        Put(1, 4); // constants
        Put(2, 4); // records
        Put(0, 8);
        Put(8, 8);
        Put(2, 8);
        Put(123456789012345, 8);
        Record(77, 24, (1, 12, 0), (3, 6, -40), (5, 0, 0), (4, 0, -5));
        Record(78, 40, (1, 3, 0));
        return [.. bytes];

        void Record(long id, int offset, params (int Kind, int Register, int Value)[] locations)
        {
            Put(id, 8);
            Put(offset, 4);
            Put(0, 2);
            Put(locations.Length, 2);
            foreach ((int kind, int register, int value) in locations)
            {
                Put(kind, 2);
                Put(8, 2);
                Put(register, 4);
                Put(value, 4);
            }
            while (bytes.Count % 8 != 0) bytes.Add(0);
            Put(0, 2);
            Put(1, 2); // one register that lives on
            Put(0, 4);
            while (bytes.Count % 8 != 0) bytes.Add(0);
        }

        void Put(long value, int size)
        {
            Span<byte> eight = stackalloc byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(eight, value);
            bytes.AddRange(eight[..size]);
        }
    }
}
