using Vivarium.Host;

namespace Vivarium.Linux.Threads;

/// <summary>Looks at a futex's word for a moment before its thread goes to sleep: whoever is about to change it often does so sooner than the host
/// could put a thread to sleep and wake it again. Where that did not help lately it is tried ever more rarely.</summary>
/// <remarks>Belongs to one guest thread. To the guest it is as if the wait had begun later: EAGAIN, or the wait proper.</remarks>
internal sealed class FutexPatience
{
    // About what sleeping and being woken costs.
    private const int Looks = 40, LongestPause = 64;
    private static readonly bool s_several = Environment.ProcessorCount > 1;

    private int _pause, _skip;

    /// <summary>Whether the word turned into something else than <paramref name="expected"/> within some two microseconds.</summary>
    public bool SeesChange(MemoryWindow window, ulong address, uint expected)
    {
        if (!s_several || _skip-- > 0) return false;
        for (int i = 0; i < Looks; i++)
        {
            if (!window.TryLoad32(address, out uint value)) return false;
            if (value != expected)
            {
                // Different from the start is no merit of waiting.
                if (i > 0) _pause = 0;
                _skip = 0;
                return true;
            }
            Thread.SpinWait(4);
        }
        _pause = Math.Min(Math.Max(1, _pause * 2), LongestPause);
        _skip = _pause;
        return false;
    }
}
