namespace Vivarium.RiscV.Privileged;

/// <summary>What an access does.</summary>
public enum AccessKind : byte
{
    Load,
    Store,
    Fetch,
}

/// <summary>PMP (Privileged Architecture, "Physical Memory Protection"): entries by priority, each a range with rights.</summary>
internal sealed class PhysicalMemoryProtection(int entries)
{
    private const int Read = 1, Write = 2, Execute = 4, ModeShift = 3, Locked = 0x80;
    private const ulong AddressMask = (1UL << 54) - 1; // physical address bits 55..2

    private readonly byte[] _configuration = new byte[entries];
    private readonly ulong[] _address = new ulong[entries];
    private bool _allowsAll;

    /// <summary>Entries.</summary>
    public int Count => entries;

    public void Reset()
    {
        _configuration.AsSpan().Clear();
        _address.AsSpan().Clear();
        _allowsAll = false;
    }

    /// <summary>Entry 0 covers everything with all rights, as firmware leaves it for S-mode.</summary>
    public void AllowAll()
    {
        if (entries == 0) return;
        _address[0] = AddressMask;
        _configuration[0] = 3 << ModeShift | Read | Write | Execute;
        Update();
    }

    /// <summary><c>pmpaddr</c>.</summary>
    public ulong ReadAddress(int index) => _address[index];

    /// <summary>Locked entries ignore it, and so does the one below a locked TOR entry.</summary>
    public void WriteAddress(int index, ulong value)
    {
        if ((_configuration[index] & Locked) != 0) return;
        if (index + 1 < entries && (_configuration[index + 1] & Locked) != 0 && ModeOf(index + 1) == 1) return;
        _address[index] = value & AddressMask;
        Update();
    }

    /// <summary><c>pmpcfg</c>: eight entries from <paramref name="first"/>.</summary>
    public ulong ReadConfiguration(int first)
    {
        ulong value = 0;
        for (var i = 0; i < 8 && first + i < entries; i++) value |= (ulong)_configuration[first + i] << (8 * i);
        return value;
    }

    public void WriteConfiguration(int first, ulong value)
    {
        for (var i = 0; i < 8 && first + i < entries; i++)
        {
            var entry = (byte)(value >> (8 * i) & 0x9f);
            if ((_configuration[first + i] & Locked) != 0) continue;
            if ((entry & (Read | Write)) == Write) entry &= unchecked((byte)~Write); // R=0 W=1 is reserved
            _configuration[first + i] = entry;
        }
        Update();
    }

    /// <summary>Whether all of [address, address+size) may be accessed. The entry of highest priority that matches any byte decides, and must match all.</summary>
    public bool Allows(ulong address, ulong size, AccessKind kind, PrivilegeMode mode)
    {
        if (_allowsAll) return true;
        return Rights(address, size, mode, out _) is var rights && (rights >> (int)RightOf(kind) & 1) != 0;
    }

    /// <summary>The rights to a page, as bits by <see cref="AccessKind"/>; where its bytes differ, none, and <paramref name="uniform"/> is false.</summary>
    public int PageRights(ulong page, PrivilegeMode mode, out bool uniform)
    {
        uniform = true;
        if (_allowsAll) return 7;
        var rights = Rights(page, 4096, mode, out uniform);
        return (rights & Read) | (rights & Write) | (rights & Execute);
    }

    private static int RightOf(AccessKind kind) => (int)kind; // R, W, X in this order are Load, Store, Fetch

    private int Rights(ulong address, ulong size, PrivilegeMode mode, out bool uniform)
    {
        uniform = true;
        ulong last = address + size - 1;
        for (var i = 0; i < entries; i++)
        {
            if (!Range(i, out var low, out var high) || last < low || address > high) continue;
            if (address < low || last > high)
            {
                uniform = false;
                return 0;
            }
            return mode == PrivilegeMode.Machine && (_configuration[i] & Locked) == 0 ? Read | Write | Execute : _configuration[i] & 7;
        }
        // Nothing matches: M-mode may, others may not if there is any PMP entry at all.
        return mode == PrivilegeMode.Machine || entries == 0 ? Read | Write | Execute : 0;
    }

    private int ModeOf(int index) => _configuration[index] >> ModeShift & 3;

    /// <summary>The inclusive range of an entry; false where it is off or empty.</summary>
    private bool Range(int index, out ulong low, out ulong high)
    {
        (low, high) = (0, 0);
        switch (ModeOf(index))
        {
            case 0:
                return false;
            case 1: // TOR
                low = index == 0 ? 0 : _address[index - 1] << 2;
                high = (_address[index] << 2) - 1;
                return _address[index] << 2 > low;
            case 2: // NA4
                low = _address[index] << 2;
                high = low + 3;
                return true;
            default: // NAPOT
                var ones = _address[index] ^ (_address[index] + 1); // trailing ones and the zero above them
                low = (_address[index] & ~ones) << 2;
                high = low | ones << 2 | 3;
                return true;
        }
    }

    private void Update() => _allowsAll = entries > 0 && (_configuration[0] & (Locked | 7)) == 7 && ModeOf(0) == 3 && _address[0] == AddressMask;
}
