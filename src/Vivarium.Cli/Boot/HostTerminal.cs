using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Vivarium.Cli.Boot;

/// <summary>
/// The terminal on standard input, in raw mode until it is disposed. However viv ends, the terminal comes back: by <see cref="Dispose"/>, by a
/// handler for the signals that ask it to end, and, where it is killed or crashes, by a shell that waits for its end on a pipe.
/// </summary>
internal sealed partial class HostTerminal : IDisposable
{
    // struct termios on Linux x86-64: four 32-bit flag words, c_line, c_cc[32], two speeds.
    private const int TermiosSize = 60;
    private const int InputFlags = 0, OutputFlags = 4, ControlFlags = 8, LocalFlags = 12, ControlCharacters = 17;
    private const int MinimumIndex = 6, TimeIndex = 5;
    private const uint Ignbrk = 1, Brkint = 2, Parmrk = 8, Istrip = 0x20, Inlcr = 0x40, Igncr = 0x80, Icrnl = 0x100, Ixon = 0x400;
    private const uint Opost = 1, Csize = 0x30, Cs8 = 0x30, Parenb = 0x100;
    private const uint Isig = 1, Icanon = 2, Echo = 8, Echonl = 0x40, Iexten = 0x8000;
    private const int AfterDraining = 1;

    private readonly byte[] _saved;
    private readonly List<PosixSignalRegistration> _signals = [];
    private readonly Process? _guard;
    private int _restored;

    private HostTerminal(byte[] saved, Action<PosixSignal> ended)
    {
        _saved = saved;
        _guard = StartGuard();
        foreach (var signal in new[] { PosixSignal.SIGTERM, PosixSignal.SIGHUP, PosixSignal.SIGINT, PosixSignal.SIGQUIT })
        {
            _signals.Add(PosixSignalRegistration.Create(signal, context =>
            {
                context.Cancel = true;
                Restore();
                ended(signal);
            }));
        }

        AppDomain.CurrentDomain.ProcessExit += (_, _) => Restore();
        AppDomain.CurrentDomain.UnhandledException += (_, _) => Restore();
        byte[] raw = [.. saved];
        Change(raw, InputFlags, clear: Ignbrk | Brkint | Parmrk | Istrip | Inlcr | Igncr | Icrnl | Ixon);
        Change(raw, OutputFlags, clear: Opost);
        Change(raw, ControlFlags, clear: Csize | Parenb, set: Cs8);
        Change(raw, LocalFlags, clear: Isig | Icanon | Echo | Echonl | Iexten);
        raw[ControlCharacters + MinimumIndex] = 1;
        raw[ControlCharacters + TimeIndex] = 0;
        _ = SetAttributes(0, AfterDraining, raw);
    }

    /// <summary>Puts standard input into raw mode, where it is a terminal.</summary>
    /// <param name="ended">Called when a signal asks viv to end; the terminal is back already.</param>
    /// <returns>Null where it is none.</returns>
    public static HostTerminal? Open(Action<PosixSignal> ended)
    {
        byte[] saved = new byte[TermiosSize];
        return GetAttributes(0, saved) == 0 ? new HostTerminal(saved, ended) : null;
    }

    /// <summary>Columns and rows of the terminal on standard output; null where it is none.</summary>
    public static (int Columns, int Rows)? Size()
    {
        const ulong getWindowSize = 0x5413; // TIOCGWINSZ; struct winsize: rows, columns, and two of pixels
        ushort[] size = new ushort[4];
        return Control(1, getWindowSize, size) == 0 && size[0] != 0 ? (size[1], size[0]) : null;
    }

    public void Dispose()
    {
        Restore();
        foreach (var signal in _signals)
            signal.Dispose();
        if (_guard is null)
            return;
        try
        {
            _guard.StandardInput.WriteLine("done");
            _guard.StandardInput.Close();
            _guard.WaitForExit(1000);
        }
        catch (IOException)
        {
            // It is gone already: all the better.
        }

        _guard.Dispose();
    }

    private static void Change(byte[] termios, int at, uint clear, uint set = 0)
    {
        var word = MemoryMarshal.Cast<byte, uint>(termios.AsSpan(at, 4));
        word[0] = (word[0] & ~clear) | set;
    }

    /// <summary>A shell that outlives this process: when the pipe closes without a word, it puts the terminal back.</summary>
    private static Process? StartGuard()
    {
        try
        {
            // By name: /dev/tty is gone when the session's leader is.
            string? name = new FileInfo("/proc/self/fd/0").LinkTarget;
            if (name is null || !name.StartsWith("/dev/", StringComparison.Ordinal) || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '/' or '-' or '_'))
                return null;
            string settings;
            using (var stty = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"exec stty -g <{name} 2>/dev/null"]) { RedirectStandardOutput = true }))
            {
                settings = stty!.StandardOutput.ReadToEnd().Trim();
                stty.WaitForExit();
            }

            if (settings.Length == 0 || !settings.All(c => char.IsAsciiHexDigitLower(c) || c == ':'))
                return null;
            var guard = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"trap '' INT QUIT HUP TERM TTOU; read word || stty {settings} <{name} 2>/dev/null"]) { RedirectStandardInput = true });
            return guard;
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or IOException)
        {
            return null; // no shell: then only an orderly end restores the terminal
        }
    }

    private void Restore()
    {
        if (Interlocked.Exchange(ref _restored, 1) == 0)
            _ = SetAttributes(0, AfterDraining, _saved);
    }

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Control(int descriptor, ulong request, [Out] ushort[] size);

    [LibraryImport("libc", EntryPoint = "tcgetattr", SetLastError = true)]
    private static partial int GetAttributes(int descriptor, [Out] byte[] termios);

    [LibraryImport("libc", EntryPoint = "tcsetattr", SetLastError = true)]
    private static partial int SetAttributes(int descriptor, int actions, byte[] termios);
}
