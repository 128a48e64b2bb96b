using System.Diagnostics;
using System.Globalization;
using Vivarium.Machine.Board;
using Vivarium.Translation.Machine;

namespace Vivarium.Cli.Boot;

/// <summary>What <c>viv boot --stats</c> prints.</summary>
internal static class BootStatistics
{
    public static void Print(VirtualMachine machine)
    {
        using var process = Process.GetCurrentProcess();
        Line("time", Seconds(DateTime.Now - process.StartTime));
        Line("host CPU time", $"{Seconds(process.TotalProcessorTime)} (user {Seconds(process.UserProcessorTime)})");
        var rest = process.TotalProcessorTime;
        void Scope(string name, TimeSpan time)
        {
            Line(name, Seconds(time));
            rest -= time;
        }

        for (int i = 0; i < machine.HartCpuTimes.Count; i++)
            Scope($"hart {i}", machine.HartCpuTimes[i]);
        Scope("timers", machine.TimerCpuTime);
        foreach (var (name, time) in machine.DeviceCpuTimes)
            Scope(name, time);
        Line("others", $"{Seconds(rest)} (start, console, GC's threads)");
        if (machine.Core.Executor is MachineEngine { Statistics: var translation })
            Line("translation", $"{Seconds(translation.TranslationTime)} (of the harts' time) for {translation.Blocks} blocks, {translation.HostBytes >> 10} KiB");
        foreach (var (name, value) in machine.Farm?.Statistics.Rows() ?? [])
            Line(name, value.ToString(CultureInfo.InvariantCulture));
        Line("host memory, most", $"{process.PeakWorkingSet64 >> 20} MiB");
        Line("collections", $"{GC.CollectionCount(0)} ({Seconds(GC.GetTotalPauseDuration())})");
        if (machine.Sbi is { } sbi)
            Line("SBI calls", sbi.Count.ToString(CultureInfo.InvariantCulture));
    }

    private static string Seconds(TimeSpan time) => time.TotalSeconds.ToString("0.000 s", CultureInfo.InvariantCulture);

    private static void Line(string name, string value) => Report.Errors.Write($"viv: {name,-20} {value}\r\n");
}
