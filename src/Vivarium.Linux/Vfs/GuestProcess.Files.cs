namespace Vivarium.Linux;

public sealed partial class GuestProcess
{
    /// <summary>The process group that a guest of ours made the terminal's foreground one, as far as it said so.</summary>
    internal int? Foreground { get; set; }
}
