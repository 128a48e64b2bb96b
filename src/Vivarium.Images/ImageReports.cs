namespace Vivarium.Images;

/// <summary>One line of the list of images.</summary>
public sealed record ImageSummary
{
    public required string Name { get; init; }

    /// <summary>Of the manifest.</summary>
    public required string Digest { get; init; }

    public DateTimeOffset? Created { get; init; }

    public int Layers { get; init; }

    /// <summary>Bytes of the stored layers.</summary>
    public long Size { get; init; }

    public string? Architecture { get; init; }

    /// <summary>What is wrong with the image; null where nothing was found.</summary>
    public string? Damage { get; init; }
}

/// <summary>All about one image.</summary>
public sealed record ImageDetails
{
    public required string Name { get; init; }

    public required string Digest { get; init; }

    public required OciManifest Manifest { get; init; }

    public required OciImageConfig Config { get; init; }

    /// <summary>Host directory of the unpacked tree; null where it has to be unpacked first.</summary>
    public string? Tree { get; init; }
}

/// <summary>What to import.</summary>
public sealed record ImportRequest
{
    /// <summary>A tar archive (plain, gzip, zstd, xz), a directory, an OCI image layout, or <c>-</c> for standard input.</summary>
    public required string Source { get; init; }

    public required string Name { get; init; }

    /// <summary>An image whose layers and configuration the new one starts with.</summary>
    public string? Base { get; init; }

    /// <summary>What replaces parts of the configuration; null fields leave the base's or the source's. Env is added by name.</summary>
    public OciProcessConfig Config { get; init; } = new();

    /// <summary>Told now and then what is being done and with how many entries or bytes.</summary>
    public Action<string, long>? Progress { get; init; }
}

/// <summary>What an import made.</summary>
public sealed record ImportResult
{
    public required string Name { get; init; }

    public required string Digest { get; init; }

    /// <summary>Bytes of the stored layers.</summary>
    public long Size { get; init; }

    /// <summary>What could not be kept, for people.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}
