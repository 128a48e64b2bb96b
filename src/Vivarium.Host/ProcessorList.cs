using System.Globalization;

namespace Vivarium.Host;

/// <summary>Lists of the host's processors as the kernel writes them: <c>0,2-3</c>.</summary>
public static class ProcessorList
{
    /// <summary>Processors that a mask can hold.</summary>
    public const int Most = 1024;

    /// <summary>The processors that are online; empty where the host does not say.</summary>
    public static IReadOnlyList<int> Online
    {
        get
        {
            try
            {
                return TryParse(File.ReadAllText("/sys/devices/system/cpu/online").Trim()) ?? [];
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return [];
            }
        }
    }

    /// <summary>The numbers of a list, ascending; null where it is none.</summary>
    public static IReadOnlyList<int>? TryParse(string text)
    {
        var all = new SortedSet<int>();
        foreach (string range in text.Split(','))
        {
            string[] ends = range.Split('-');
            if (ends.Length > 2 || !TryNumber(ends[0], out int first) || !TryNumber(ends[^1], out int last) || last < first) return null;
            for (int n = first; n <= last; n++) all.Add(n);
        }
        return [.. all];

        static bool TryNumber(string text, out int number) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number < Most;
    }
}
