namespace Vivarium.Cli.Boot;

/// <summary>Finds the escape key in what is typed: Ctrl-A, then a letter. Ctrl-A twice sends one.</summary>
internal sealed class ConsoleEscape
{
    public const byte Key = 1;

    private bool _pending;

    /// <summary>Ctrl-A x was typed.</summary>
    public bool Quit { get; private set; }

    /// <summary>Ctrl-A h was typed; the reader takes it back.</summary>
    public bool Help { get; set; }

    /// <summary>Ctrl-A s was typed; the reader takes it back.</summary>
    public bool Save { get; set; }

    /// <summary>Takes typed bytes; what is for the guest goes to <paramref name="output"/>, which is as long.</summary>
    /// <returns>How many bytes that is.</returns>
    public int Filter(ReadOnlySpan<byte> typed, Span<byte> output)
    {
        int count = 0;
        foreach (byte value in typed)
        {
            if (!_pending)
            {
                _pending = value == Key;
                if (!_pending)
                    output[count++] = value;
                continue;
            }

            _pending = false;
            switch (value)
            {
                case (byte)'x' or (byte)'X':
                    Quit = true;
                    return count;
                case Key or (byte)'a':
                    output[count++] = Key;
                    break;
                case (byte)'s' or (byte)'S':
                    Save = true;
                    break;
                case (byte)'h' or (byte)'?':
                    Help = true;
                    break;
            }
        }

        return count;
    }
}
