namespace Vivarium.Host.Tests;

public sealed class ProcessorListTests
{
    [Theory]
    [InlineData("0", new[] { 0 })]
    [InlineData("0,2-4,3", new[] { 0, 2, 3, 4 })]
    [InlineData("1023", new[] { 1023 })]
    public void ReadsWhatTheKernelWrites(string text, int[] expected) => Assert.Equal(expected, ProcessorList.TryParse(text));

    [Theory]
    [InlineData("")]
    [InlineData("a")]
    [InlineData("1,")]
    [InlineData("3-1")]
    [InlineData("1-2-3")]
    [InlineData("-1")]
    [InlineData("1024")]
    public void RefusesEverythingElse(string text) => Assert.Null(ProcessorList.TryParse(text));

    [Fact]
    public void AThreadStaysWhereItIsPut()
    {
        int last = ProcessorList.TryParse(Allowed())![^1];
        string seen = "";
        var thread = new Thread(() =>
        {
            HostThread.StayOn([last]);
            seen = Allowed();
        });
        thread.Start();
        thread.Join();
        Assert.Equal([last], ProcessorList.TryParse(seen));

        static string Allowed() => File.ReadLines("/proc/thread-self/status").First(l => l.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal)).Split('\t')[1].Trim();
    }
}
