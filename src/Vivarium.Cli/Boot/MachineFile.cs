using System.Globalization;
using Tomlyn.Parsing;
using Tomlyn.Syntax;
using Vivarium.Machine.Board;

namespace Vivarium.Cli.Boot;

/// <summary>Machine files: the settings of <see cref="BootSettings"/> as TOML. Errors name the file and the line.</summary>
internal static class MachineFile
{
    /// <summary>Reads a file into <paramref name="configuration"/>.</summary>
    /// <exception cref="CommandException">It cannot be read, or a setting in it is wrong.</exception>
    public static void Read(string path, MachineConfiguration configuration)
    {
        string text;
        try
        {
            text = File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandException(ExitCodes.RunFailed, $"cannot boot: cannot read the machine file '{path}': {(e is FileNotFoundException or DirectoryNotFoundException ? "no such file" : e.Message)}");
        }

        Apply(text, path, configuration);
    }

    /// <summary>Applies the text of a machine file; its relative paths start from the directory of <paramref name="path"/>.</summary>
    public static void Apply(string text, string path, MachineConfiguration configuration)
    {
        var document = SyntaxParser.Parse(text, path);
        foreach (var diagnostic in document.Diagnostics)
            throw Wrong(path, diagnostic.Span.Start.Line, diagnostic.Message);
        string directory = Path.GetDirectoryName(Path.GetFullPath(path))!;
        foreach (var pair in document.KeyValues)
            throw Wrong(path, Line(pair), $"'{NameOf(pair.Key)}' stands outside of a table ({Tables()})");
        foreach (var table in document.Tables)
        {
            string name = NameOf(table.Name);
            if (table is TableArraySyntax)
                throw Wrong(path, Line(table), $"[[{name}]] is not an array of tables here; write [{name}]");
            if (!BootSettings.All.Any(s => s.Table == name))
                throw Wrong(path, Line(table), $"unknown table [{name}]; there are {Tables()}");
            foreach (var pair in table.Items)
            {
                string key = NameOf(pair.Key);
                if (Array.Find(BootSettings.All, s => s.Table == name && s.Key == key) is not { } setting)
                    throw Wrong(path, Line(pair), $"unknown key '{key}' in [{name}]; there are {string.Join(", ", BootSettings.All.Where(s => s.Table == name).Select(s => s.Key))}");
                foreach (string value in Values(setting, pair, path))
                {
                    string complete = setting.Kind is SettingKind.File or SettingKind.FileList && value.Length > 0 ? Path.Combine(directory, value) : value;
                    if (setting.Apply(configuration, complete) is { } problem)
                        throw Wrong(path, Line(pair), $"{key} {problem}");
                }
            }
        }
    }

    private static IEnumerable<string> Values(BootSetting setting, KeyValueSyntax pair, string path)
    {
        bool isList = setting.Kind is SettingKind.List or SettingKind.FileList;
        if (isList && pair.Value is ArraySyntax array)
            return [.. array.Items.Select(item => Scalar(setting, item.Value, pair, path))];
        return [Scalar(setting, pair.Value, pair, path)];
    }

    private static string Scalar(BootSetting setting, ValueSyntax? value, KeyValueSyntax pair, string path) => (setting.Kind, value) switch
    {
        (SettingKind.Switch, BooleanValueSyntax boolean) => boolean.Value ? "true" : "false",
        (SettingKind.Switch, _) => throw Wrong(path, Line(pair), $"{setting.Key} is true or false"),
        (SettingKind.Number, IntegerValueSyntax number) => number.Value.ToString(CultureInfo.InvariantCulture),
        (SettingKind.Number, _) => throw Wrong(path, Line(pair), $"{setting.Key} is a number"),
        (_, StringValueSyntax text) => text.Value ?? "",
        (SettingKind.List or SettingKind.FileList, _) => throw Wrong(path, Line(pair), $"{setting.Key} is a list of strings"),
        _ => throw Wrong(path, Line(pair), $"{setting.Key} is a string"),
    };

    private static string Tables() => string.Join(", ", BootSettings.All.Select(s => $"[{s.Table}]").Distinct());

    private static string NameOf(KeySyntax? key) => key?.ToString().Trim() ?? "";

    private static int Line(SyntaxNode node) => node.Span.Start.Line;

    private static CommandException Wrong(string path, int line, string problem) => new(ExitCodes.RunFailed, $"cannot boot: '{path}' line {line + 1}: {problem}");
}
