namespace Vivarium.Cli;

/// <summary>One line on a terminal that says how far something is; gone when it is done.</summary>
internal sealed class ProgressLine(bool enabled) : IDisposable
{
    private long _next;
    private bool _shown;

    public void Show(string what, long count)
    {
        long now = Environment.TickCount64;
        if (!enabled || now < _next)
            return;
        _next = now + 100;
        _shown = true;
        Report.Errors.Write($"\rviv: {what} {count:N0}\e[K");
    }

    public void Dispose()
    {
        if (_shown)
            Report.Errors.Write("\r\e[K");
        _shown = false;
    }
}
