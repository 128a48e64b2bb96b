using System.Text.Json.Serialization;

namespace Vivarium.Images;

// The documents of an OCI image layout, as far as the store writes and reads them (OCI image specification 1.1). Names are the
// specification's; everything optional there may be null here.

/// <summary><c>oci-layout</c>: marks the directory.</summary>
public sealed record OciLayout
{
    public required string ImageLayoutVersion { get; init; }
}

/// <summary><c>index.json</c>: the images by name (annotation <c>org.opencontainers.image.ref.name</c>).</summary>
public sealed record OciIndex
{
    public int SchemaVersion { get; init; } = 2;

    public string? MediaType { get; init; }

    public IReadOnlyList<OciDescriptor> Manifests { get; init; } = [];
}

/// <summary>Points at a blob.</summary>
public sealed record OciDescriptor
{
    public required string MediaType { get; init; }

    /// <summary><c>sha256:</c> and 64 hexadecimal digits.</summary>
    public required string Digest { get; init; }

    /// <summary>In bytes.</summary>
    public required long Size { get; init; }

    public OciPlatform? Platform { get; init; }

    public IReadOnlyDictionary<string, string>? Annotations { get; init; }
}

public sealed record OciPlatform
{
    public string? Architecture { get; init; }

    [JsonPropertyName("os")]
    public string? OS { get; init; }
}

/// <summary>An image: a configuration and layers, lowest first.</summary>
public sealed record OciManifest
{
    public int SchemaVersion { get; init; } = 2;

    public string? MediaType { get; init; }

    public required OciDescriptor Config { get; init; }

    public IReadOnlyList<OciDescriptor> Layers { get; init; } = [];
}

/// <summary>The configuration blob.</summary>
public sealed record OciImageConfig
{
    public DateTimeOffset? Created { get; init; }

    public string? Architecture { get; init; }

    [JsonPropertyName("os")]
    public string? OS { get; init; }

    public OciProcessConfig? Config { get; init; }

    public required OciRootFs Rootfs { get; init; }

    public IReadOnlyList<OciHistory>? History { get; init; }
}

/// <summary>What the image says about the process that runs in it. The names are capitalised in the file.</summary>
public sealed record OciProcessConfig
{
    [JsonPropertyName("User")]
    public string? User { get; init; }

    /// <summary>Each <c>NAME=VALUE</c>.</summary>
    [JsonPropertyName("Env")]
    public IReadOnlyList<string>? Env { get; init; }

    [JsonPropertyName("Entrypoint")]
    public IReadOnlyList<string>? Entrypoint { get; init; }

    [JsonPropertyName("Cmd")]
    public IReadOnlyList<string>? Cmd { get; init; }

    [JsonPropertyName("WorkingDir")]
    public string? WorkingDir { get; init; }
}

/// <summary>Digests of the layers' uncompressed archives, lowest first.</summary>
public sealed record OciRootFs
{
    public string Type { get; init; } = "layers";

    [JsonPropertyName("diff_ids")]
    public IReadOnlyList<string> DiffIds { get; init; } = [];
}

public sealed record OciHistory
{
    public DateTimeOffset? Created { get; init; }

    [JsonPropertyName("created_by")]
    public string? CreatedBy { get; init; }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(OciLayout))]
[JsonSerializable(typeof(OciIndex))]
[JsonSerializable(typeof(OciManifest))]
[JsonSerializable(typeof(OciImageConfig))]
public sealed partial class OciJson : JsonSerializerContext;
