using System.Buffers.Binary;
using System.Text;

namespace Vivarium.Machine.Firmware;

/// <summary>A node of a device tree: its properties and children in order. Values are big-endian, as the Devicetree Specification has them.</summary>
public sealed class DeviceTreeNode(string name)
{
    public string Name { get; } = name;

    public List<(string Name, byte[] Value)> Properties { get; } = [];

    public List<DeviceTreeNode> Children { get; } = [];

    /// <summary>Adds a child.</summary>
    public DeviceTreeNode Add(string name)
    {
        var child = new DeviceTreeNode(name);
        Children.Add(child);
        return child;
    }

    /// <summary>The child of that name, made if it is not there.</summary>
    public DeviceTreeNode GetOrAdd(string name) => Find(name) ?? Add(name);

    public DeviceTreeNode? Find(string name) => Children.Find(c => c.Name == name);

    public byte[]? this[string property]
    {
        get => Properties.Find(p => p.Name == property).Value;
        set
        {
            int at = Properties.FindIndex(p => p.Name == property);
            if (value is null)
            {
                if (at >= 0)
                    Properties.RemoveAt(at);
            }
            else if (at >= 0)
            {
                Properties[at] = (property, value);
            }
            else
            {
                Properties.Add((property, value));
            }
        }
    }

    /// <summary>A property without a value.</summary>
    public DeviceTreeNode Flag(string property)
    {
        this[property] = [];
        return this;
    }

    /// <summary>Cells of 32 bits.</summary>
    public DeviceTreeNode Cells(string property, params ReadOnlySpan<uint> cells)
    {
        byte[] value = new byte[cells.Length * 4];
        for (int i = 0; i < cells.Length; i++)
            BinaryPrimitives.WriteUInt32BigEndian(value.AsSpan(i * 4), cells[i]);
        this[property] = value;
        return this;
    }

    /// <summary>Pairs of cells of 32 bits.</summary>
    public DeviceTreeNode Wide(string property, params ReadOnlySpan<ulong> values)
    {
        byte[] value = new byte[values.Length * 8];
        for (int i = 0; i < values.Length; i++)
            BinaryPrimitives.WriteUInt64BigEndian(value.AsSpan(i * 8), values[i]);
        this[property] = value;
        return this;
    }

    /// <summary>A list of strings.</summary>
    public DeviceTreeNode Text(string property, params ReadOnlySpan<string> strings)
    {
        var text = new StringBuilder();
        foreach (string s in strings)
            text.Append(s).Append('\0');
        this[property] = Encoding.UTF8.GetBytes(text.ToString());
        return this;
    }
}
