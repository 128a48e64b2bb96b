using System.Globalization;
using System.Text;
using System.Text.Json;
using Spectre.Console;

namespace Vivarium.Bench;

/// <summary>The medians of one runner on one row, and the largest slowness of its runs.</summary>
internal sealed record Cell(double Wall, double Min, double Max, double Cpu, long PeakKiB, double Slowness);

/// <summary>A measured row: the native median (or null) and a cell per runner (null where the runner failed, with the reason).</summary>
internal sealed record Result(Row Row, Cell? Native, Dictionary<string, Cell?> Cells, List<string> Failures);

/// <summary>Table, JSON and chart of a run.</summary>
internal static class Report
{
    private static string F(double v, string format) => v.ToString(format, CultureInfo.InvariantCulture);

    private static string Quantity(Row row, double value) =>
        row.Output == Compare.Memory ? F(value * 1000, "0.0") + " MB" : value >= 0.001 && row.Output != Compare.Nanoseconds ? F(value, "0.000")
        : value >= 0.001 ? F(value * 1e3, "0.00") + " ms" : value >= 1e-6 ? F(value * 1e6, "0.00") + " us" : F(value * 1e9, "0") + " ns";

    /// <summary>Wall time of the fastest peer on the row, or null.</summary>
    public static double? BestPeer(Result r, List<Runner> runners) =>
        runners.Where(x => !x.IsOurs).Select(x => r.Cells.GetValueOrDefault(x.Name)?.Wall).Where(w => w is not null).Min();

    public static double GeometricMean(IEnumerable<double> values)
    {
        var list = values.ToList();
        return list.Count == 0 ? double.NaN : Math.Exp(list.Average(Math.Log));
    }

    public static void Table(IReadOnlyList<Result> results, List<Runner> runners)
    {
        var table = new Table().Border(TableBorder.Simple);
        table.AddColumn("row");
        table.AddColumn(new TableColumn("native s").RightAligned());
        foreach (var r in runners) table.AddColumn(new TableColumn(Markup.Escape(r.Name) + " s").RightAligned());
        table.AddColumn(new TableColumn("viv / native").RightAligned());
        table.AddColumn(new TableColumn("best qemu / viv").RightAligned());
        table.AddColumn(new TableColumn("peak MiB viv / qemu").RightAligned());
        var ours = runners.First(r => r.IsOurs).Name;
        var variants = runners.Where(r => r.IsOurs).Skip(1).ToList();
        foreach (var v in variants) table.AddColumn(new TableColumn(Markup.Escape($"{ours} / {(v.Name.StartsWith(ours, StringComparison.Ordinal) ? v.Name[ours.Length..].Trim() : v.Name)}")).RightAligned());
        foreach (var group in results.GroupBy(r => r.Row.Group))
        {
            var toNative = new List<double>();
            var toPeer = new List<double>();
            var toVariants = variants.ConvertAll(static _ => new List<double>());
            foreach (var r in group)
            {
                var mine = r.Cells.GetValueOrDefault(ours);
                var peer = BestPeer(r, runners);
                if (mine is not null && r.Native is not null) toNative.Add(mine.Wall / r.Native.Wall);
                if (mine is not null && peer is not null) toPeer.Add(peer.Value / mine.Wall);
                var peerPeak = runners.Where(x => !x.IsOurs).Select(x => r.Cells.GetValueOrDefault(x.Name)?.PeakKiB).Min();
                for (var v = 0; v < variants.Count; v++)
                    if (mine is not null && r.Cells.GetValueOrDefault(variants[v].Name) is { } other) toVariants[v].Add(mine.Wall / other.Wall);
                table.AddRow([
                    Markup.Escape(r.Row.Name), r.Native is null ? "-" : Quantity(r.Row, r.Native.Wall),
                    .. runners.Select(x => r.Cells.GetValueOrDefault(x.Name) is { } c ? Quantity(r.Row, c.Wall) : "failed"),
                    mine is null || r.Native is null ? "-" : F(mine.Wall / r.Native.Wall, "0.00"),
                    mine is null || peer is null ? "-" : F(peer.Value / mine.Wall, "0.00"),
                    $"{(mine is null ? "-" : F(mine.PeakKiB / 1024.0, "0"))} / {(peerPeak is null ? "-" : F(peerPeak.Value / 1024.0, "0"))}",
                    .. variants.Select(v => mine is null || r.Cells.GetValueOrDefault(v.Name) is not { } other ? "-" : F(mine.Wall / other.Wall, "0.00"))]);
            }
            table.AddRow(["[bold]" + group.Key + "[/] (geometric mean)", "", .. runners.Select(_ => ""), F(GeometricMean(toNative), "0.00"), F(GeometricMean(toPeer), "0.00"), "", .. toVariants.Select(t => F(GeometricMean(t), "0.00"))]);
            table.AddEmptyRow();
        }
        AnsiConsole.Profile.Width = Math.Max(AnsiConsole.Profile.Width, 160);
        AnsiConsole.Write(table);
        foreach (var failure in results.SelectMany(r => r.Failures)) Console.WriteLine("failed: " + failure);
    }

    public static void Json(IReadOnlyList<Result> results, List<Runner> runners, string path, string host)
    {
        using var stream = File.Create(path);
        using var w = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
        w.WriteStartObject();
        w.WriteString("host", host);
        w.WriteString("date", DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture));
        w.WriteStartArray("rows");
        foreach (var r in results)
        {
            w.WriteStartObject();
            w.WriteString("group", r.Row.Group);
            w.WriteString("name", r.Row.Name);
            WriteCell(w, "native", r.Native);
            foreach (var x in runners) WriteCell(w, x.Name, r.Cells.GetValueOrDefault(x.Name));
            w.WriteEndObject();
        }
        w.WriteEndArray();
        w.WriteEndObject();
    }

    private static void WriteCell(Utf8JsonWriter w, string name, Cell? c)
    {
        if (c is null)
        {
            w.WriteNull(name);
            return;
        }
        w.WriteStartObject(name);
        w.WriteNumber("wallSeconds", c.Wall);
        w.WriteNumber("minimum", c.Min);
        w.WriteNumber("maximum", c.Max);
        w.WriteNumber("cpuSeconds", c.Cpu);
        w.WriteNumber("peakKiB", c.PeakKiB);
        w.WriteNumber("slowness", c.Slowness);
        w.WriteEndObject();
    }

    /// <summary>Bars of slow-down against native (or seconds where there is no native), log scale, as SVG.</summary>
    public static void Chart(IReadOnlyList<Result> results, List<Runner> runners, string path)
    {
        string[] colours = ["#1b9e77", "#bdbdbd", "#969696", "#636363", "#d95f02", "#7570b3"];
        var rows = results.Where(r => r.Native is not null).ToList();
        const int Left = 130, Bar = 9, Width = 620;
        var rowHeight = Bar * runners.Count + 8;
        var height = rows.Count * rowHeight + 70;
        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{Left + Width + 60}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
        double X(double ratio) => Left + Math.Clamp(Math.Log2(Math.Max(ratio, 0.5) / 0.5) / 8.0, 0, 1) * Width;
        for (var v = 0.5; v <= 128; v *= 2)
            svg.Append(CultureInfo.InvariantCulture, $"<line x1=\"{X(v):0}\" x2=\"{X(v):0}\" y1=\"40\" y2=\"{height - 10}\" stroke=\"{(v == 1 ? "#333" : "#ddd")}\"/><text x=\"{X(v):0}\" y=\"34\" text-anchor=\"middle\" fill=\"#666\">{v}x</text>\n");
        var x0 = Left;
        for (var i = 0; i < runners.Count; i++)
        {
            svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{x0}\" y=\"6\" width=\"10\" height=\"10\" fill=\"{colours[i % colours.Length]}\"/><text x=\"{x0 + 14}\" y=\"15\">{runners[i].Name}</text>\n");
            x0 += 30 + runners[i].Name.Length * 7;
        }
        for (var i = 0; i < rows.Count; i++)
        {
            var y = 46 + i * rowHeight;
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left - 6}\" y=\"{y + rowHeight / 2}\" text-anchor=\"end\">{rows[i].Row.Name}</text>\n");
            for (var k = 0; k < runners.Count; k++)
                if (rows[i].Cells.GetValueOrDefault(runners[k].Name) is { } c)
                {
                    var ratio = c.Wall / rows[i].Native!.Wall;
                    svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{Left}\" y=\"{y + k * Bar}\" width=\"{X(ratio) - Left:0.0}\" height=\"{Bar - 1}\" fill=\"{colours[k % colours.Length]}\"/><text x=\"{X(ratio) + 3:0.0}\" y=\"{y + k * Bar + 8}\" font-size=\"8\" fill=\"#333\">{ratio:0.00}</text>\n");
                }
        }
        svg.Append("</svg>\n");
        File.WriteAllText(path, svg.ToString());
    }
}
