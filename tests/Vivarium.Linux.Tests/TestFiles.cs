namespace Vivarium.Linux.Tests;

/// <summary>Files of the repository, found from where the tests run.</summary>
internal static class TestFiles
{
    private static readonly string s_root = FindRoot();

    public static string Path(string relative) => System.IO.Path.Combine(s_root, relative);

    private static string FindRoot()
    {
        for (var directory = new DirectoryInfo(AppContext.BaseDirectory); directory != null; directory = directory.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(directory.FullName, "Vivarium.slnx"))) return directory.FullName;
        }
        throw new DirectoryNotFoundException("the tests run outside of the repository");
    }
}
