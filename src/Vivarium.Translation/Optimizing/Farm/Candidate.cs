namespace Vivarium.Translation.Optimizing.Farm;

/// <summary>A block that was seen running often.</summary>
internal sealed class Candidate(IRegionEngine engine, CodePlace place)
{
    public IRegionEngine Engine => engine;
    public CodePlace Place => place;

    /// <summary>Samples since it was last compiled, halved now and then; when the first and the last one came.</summary>
    public double Heat { get; set; }
    public long FirstSample { get; set; }
    public long LastSample { get; set; }

    /// <summary>Samples since it was last compiled or refused, however long ago: a program whose time is spread over many loops makes none of them hot for a moment.</summary>
    public double Total { get; set; }

    /// <summary>How many samples have come since the first one.</summary>
    public int Samples { get; set; }

    /// <summary>Which loop around the block to compile next: 0 the outermost.</summary>
    public int Level { get; set; }
    public int Refusals { get; set; }
    public bool IsQueued { get; set; }
    public bool IsCompiling { get; set; }

    /// <summary>Samples per second by which it became hot.</summary>
    public double HeatWhenQueued { get; set; }
    public long Queued { get; set; }
    public long Started { get; set; }

    /// <summary>Guest instructions of the region around it, when it was last grown; 0 where nobody has looked.</summary>
    public int Size { get; set; }
}
