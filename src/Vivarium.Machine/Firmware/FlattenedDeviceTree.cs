using System.Buffers.Binary;
using System.Text;

namespace Vivarium.Machine.Firmware;

/// <summary>A device tree blob that cannot be read; the message says why.</summary>
public sealed class DeviceTreeException(string message) : Exception(message);

/// <summary>Device tree blobs (Devicetree Specification 0.4, chapter 5, version 17): trees into bytes and back.</summary>
/// <remarks>The reader takes any bytes: what does not hold is refused with <see cref="DeviceTreeException"/>, in time linear in the input.</remarks>
public static class FlattenedDeviceTree
{
    private const uint Magic = 0xd00dfeed;
    private const uint Version = 17;
    private const uint CompatibleVersion = 16;
    private const int HeaderSize = 40;
    private const uint BeginNode = 1, EndNode = 2, Property = 3, Nop = 4, End = 9;
    private const int MaximumDepth = 64;

    /// <summary>Makes a blob.</summary>
    public static byte[] Write(DeviceTreeNode root)
    {
        var structure = new MemoryStream();
        var strings = new MemoryStream();
        var offsets = new Dictionary<string, uint>();
        WriteNode(root);
        Word(End);

        uint reservations = HeaderSize;
        uint structureAt = reservations + 16; // one empty entry ends the reservations
        uint stringsAt = structureAt + (uint)structure.Length;
        uint total = (stringsAt + (uint)strings.Length + 7) & ~7u;
        byte[] blob = new byte[total];
        ReadOnlySpan<uint> header = [Magic, total, structureAt, stringsAt, reservations, Version, CompatibleVersion, 0, (uint)strings.Length, (uint)structure.Length];
        for (int i = 0; i < header.Length; i++)
            BinaryPrimitives.WriteUInt32BigEndian(blob.AsSpan(i * 4), header[i]);
        structure.ToArray().CopyTo(blob, structureAt);
        strings.ToArray().CopyTo(blob, stringsAt);
        return blob;

        void WriteNode(DeviceTreeNode node)
        {
            Word(BeginNode);
            structure.Write(Encoding.UTF8.GetBytes(node.Name + "\0"));
            Pad();
            foreach (var (name, value) in node.Properties)
            {
                Word(Property);
                Word((uint)value.Length);
                Word(OffsetOf(name));
                structure.Write(value);
                Pad();
            }

            foreach (var child in node.Children)
                WriteNode(child);
            Word(EndNode);
        }

        void Word(uint value)
        {
            Span<byte> bytes = stackalloc byte[4];
            BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
            structure.Write(bytes);
        }

        void Pad()
        {
            while ((structure.Length & 3) != 0)
                structure.WriteByte(0);
        }

        uint OffsetOf(string name)
        {
            if (offsets.TryGetValue(name, out uint offset))
                return offset;
            offset = (uint)strings.Length;
            offsets.Add(name, offset);
            strings.Write(Encoding.UTF8.GetBytes(name + "\0"));
            return offset;
        }
    }

    /// <summary>Reads a blob.</summary>
    /// <exception cref="DeviceTreeException">It is damaged, or of a version that this program does not know.</exception>
    public static DeviceTreeNode Read(ReadOnlySpan<byte> blob)
    {
        if (blob.Length < HeaderSize || Cell(blob, 0) != Magic)
            throw new DeviceTreeException("this is not a device tree blob");
        uint total = Cell(blob, 4);
        if (total < HeaderSize || total > (uint)blob.Length)
            throw new DeviceTreeException($"the device tree blob is cut off: it says {total} bytes and has {blob.Length}");
        blob = blob[..(int)total];
        if (Cell(blob, 24) > Version || Cell(blob, 20) < CompatibleVersion)
            throw new DeviceTreeException($"the device tree blob has version {Cell(blob, 20)} (compatible with {Cell(blob, 24)}); this program reads 16 and 17");
        var strings = Block(blob, Cell(blob, 12), Cell(blob, 32), "strings");
        uint structureAt = Cell(blob, 8);
        uint structureSize = Cell(blob, 20) >= 17 ? Cell(blob, 36) : total - Math.Min(total, structureAt);
        var structure = Block(blob, structureAt, structureSize, "structure");

        var path = new Stack<DeviceTreeNode>();
        DeviceTreeNode? root = null;
        for (int at = 0; ;)
        {
            switch (Next(structure, ref at))
            {
                case BeginNode:
                    string name = Terminated(structure, at, out int length);
                    at = Align(at + length + 1);
                    if (path.Count == MaximumDepth)
                        throw new DeviceTreeException($"the device tree is more than {MaximumDepth} nodes deep");
                    var node = new DeviceTreeNode(name);
                    if (path.TryPeek(out var parent))
                        parent.Children.Add(node);
                    else if (root is null)
                        root = node;
                    else
                        throw new DeviceTreeException("the device tree has two roots");
                    path.Push(node);
                    break;
                case Property:
                    uint size = Next(structure, ref at);
                    uint nameAt = Next(structure, ref at);
                    if (size > (uint)(structure.Length - at) || nameAt >= (uint)strings.Length)
                        throw new DeviceTreeException($"the device tree has a property out of bounds (at {at})");
                    if (!path.TryPeek(out var owner))
                        throw new DeviceTreeException("the device tree has a property outside of a node");
                    owner.Properties.Add((Terminated(strings, (int)nameAt, out _), structure.Slice(at, (int)size).ToArray()));
                    at = Align(at + (int)size);
                    break;
                case EndNode:
                    if (!path.TryPop(out _))
                        throw new DeviceTreeException("the device tree ends a node that it did not begin");
                    break;
                case Nop:
                    break;
                case End:
                    if (root is null || path.Count > 0)
                        throw new DeviceTreeException("the device tree ends within a node");
                    return root;
                default:
                    throw new DeviceTreeException($"the device tree has an unknown token at {at - 4}");
            }
        }
    }

    private static ReadOnlySpan<byte> Block(ReadOnlySpan<byte> blob, uint at, uint size, string what)
    {
        if (at > (uint)blob.Length || size > (uint)blob.Length - at)
            throw new DeviceTreeException($"the device tree blob's {what} lie out of bounds");
        return blob.Slice((int)at, (int)size);
    }

    private static uint Cell(ReadOnlySpan<byte> blob, int at) => BinaryPrimitives.ReadUInt32BigEndian(blob[at..]);

    private static int Align(int at) => (at + 3) & ~3;

    private static uint Next(ReadOnlySpan<byte> structure, ref int at)
    {
        if (at > structure.Length - 4)
            throw new DeviceTreeException("the device tree ends without an end token");
        uint value = Cell(structure, at);
        at += 4;
        return value;
    }

    private static string Terminated(ReadOnlySpan<byte> bytes, int at, out int length)
    {
        if (at > bytes.Length)
            throw new DeviceTreeException("the device tree has a name out of bounds");
        // Names are short (31 characters by the specification); a bound keeps reading linear where many properties share one long string.
        var window = bytes.Slice(at, Math.Min(bytes.Length - at, 4096));
        length = window.IndexOf((byte)0);
        if (length < 0)
            throw new DeviceTreeException("the device tree has a name without an end");
        return Encoding.Latin1.GetString(window[..length]);
    }
}
