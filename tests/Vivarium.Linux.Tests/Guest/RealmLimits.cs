namespace Vivarium.Linux.Tests.Guest;

/// <summary>What a realm's own limits do to its guests: cases of guest-tests that mean something only under them.</summary>
public class RealmLimits
{
    private static (int Status, string Errors) Run(string name, RunOptions limits)
    {
        string program = TestFiles.Path("tests/guest/bin/guest-tests");
        var errors = new StringWriter();
        int status = ProcessRunner.Run(limits with { Program = program, Arguments = [program, name], Errors = TextWriter.Synchronized(errors) });
        return (status, errors.ToString());
    }

    [Fact]
    public void WhoTakesTheMostMemoryIsKilled()
    {
        var (status, errors) = Run("limit_of_memory", new RunOptions { Program = "", Arguments = [], MemoryLimit = 96 << 20 });
        Assert.True(status == 0, errors);
        Assert.Equal(3, errors.Split('\n', StringSplitOptions.RemoveEmptyEntries).Count(line => line.Contains("killed: ", StringComparison.Ordinal) && line.EndsWith("96 MiB allowed (--memory)", StringComparison.Ordinal)));
    }

    [Fact]
    public void ThereAreNoMoreProcessesThanAllowed()
    {
        var (status, errors) = Run("limit_of_pids", new RunOptions { Program = "", Arguments = [], ProcessLimit = 12, Environment = ["GUEST_TESTS_PIDS=1"] });
        Assert.True(status == 0, errors);
    }

    [Fact]
    public void WithoutANetworkThereAreOnlyUnixSockets()
    {
        var (status, errors) = Run("limit_of_network", new RunOptions { Program = "", Arguments = [], NoNetwork = true, Environment = ["GUEST_TESTS_NO_NETWORK=1"] });
        Assert.True(status == 0, errors);
    }

    [Theory]
    [InlineData("set_id_execution", false)]
    [InlineData("permissions", false)]
    [InlineData("permissions", true)]
    [InlineData("sockets_belong_to_their_makers", false)]
    [InlineData("paths_longer_than_any_path", false)]
    public void UsersOfTheGuestHaveTheirOwnRights(string name, bool overlay)
    {
        string upper = Directory.CreateTempSubdirectory("viv-upper-").FullName;
        string root = Directory.CreateTempSubdirectory("viv-set-id-").FullName;
        try
        {
            string inside = System.IO.Path.Combine(root, "guest-tests");
            Directory.CreateDirectory(System.IO.Path.Combine(root, "tmp"));
            File.Copy(TestFiles.Path("tests/guest/bin/guest-tests"), inside);
            var errors = new StringWriter();
            int status = ProcessRunner.Run(new RunOptions
            {
                Program = "/guest-tests", Arguments = ["/guest-tests", name], Environment = ["GUEST_TESTS_OWN_ROOT=1"],
                Root = root, Upper = overlay ? upper : null, User = "0", Errors = TextWriter.Synchronized(errors),
            });
            Assert.True(status == 0, $"{status}: {errors}");
        }
        finally
        {
            Directory.Delete(root, recursive: true);
            Directory.Delete(upper, recursive: true);
        }
    }

    [Theory]
    [InlineData(ExecutorKind.Interpreter)]
    [InlineData(ExecutorKind.Translator)]
    public void AnAddressSpaceMayHaveSixteenTebibytes(ExecutorKind executor)
    {
        var (status, errors) = Run("limit_of_address_space", new RunOptions { Program = "", Arguments = [], Executor = executor, AddressSpace = 16UL << 40 });
        Assert.True(status == 0, errors);
    }
}
