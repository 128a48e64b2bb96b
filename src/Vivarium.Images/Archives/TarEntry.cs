namespace Vivarium.Images.Archives;

/// <summary>What an entry of an archive makes.</summary>
internal enum TarKind
{
    File,
    HardLink,
    SymbolicLink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// <summary>One entry of a tar archive. Names are bytes, as on disk, without a zero byte.</summary>
internal sealed record TarEntry
{
    public required TarKind Kind { get; init; }

    public required byte[] Name { get; init; }

    /// <summary>What a link points at.</summary>
    public byte[] LinkName { get; init; } = [];

    /// <summary>Permission bits, set-uid and sticky included.</summary>
    public uint Mode { get; init; }

    public uint Uid { get; init; }

    public uint Gid { get; init; }

    /// <summary>Bytes of data that follow; 0 for all but files.</summary>
    public long Size { get; init; }

    /// <summary>Seconds since 1970.</summary>
    public long ModifySeconds { get; init; }

    public long ModifyNanoseconds { get; init; }

    public uint DeviceMajor { get; init; }

    public uint DeviceMinor { get; init; }

    public IReadOnlyList<(byte[] Name, byte[] Value)> Xattrs { get; init; } = [];
}
