using System.Reflection;

namespace Vivarium.Cli;

internal static class VersionText
{
    /// <summary>The one line of <c>viv --version</c>.</summary>
    public static string Line => "viv " + Number;

    /// <summary>The version that the build gave, without the source revision.</summary>
    public static string Number { get; } =
        typeof(VersionText).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0";
}
