using Microsoft.Win32.SafeHandles;
using Vivarium.Machine.Devices;

namespace Vivarium.Cli.Boot;

/// <summary>
/// The guest's console on standard input and output. Output is written by a thread of its own, so that a burst of single bytes becomes few
/// writes; a guest that is faster than the terminal waits. Outlives the machine: a reboot attaches the next one.
/// </summary>
internal sealed class SerialConsole : ISerialBackEnd, IDisposable
{
    private const int OutputLimit = 1 << 16;

    private readonly FileStream _input = new(new SafeFileHandle(0, ownsHandle: false), FileAccess.Read, bufferSize: 0);
    private readonly DescriptorStream _output = new(1);
    private readonly object _outputLock = new(); // a monitor, for its Wait and Pulse
    private readonly object _inputLock = new();
    private readonly Thread _writer;
    private readonly Action<int> _quit;
    private readonly Action _save;
    private readonly bool _escapes;
    private byte[] _pending = new byte[4096];
    private int _pendingCount;
    private bool _writing;
    private bool _closed;
    private bool _hurry;
    private IConsolePort? _port;

    /// <param name="escapes">Whether the input is typed by somebody, so that Ctrl-A is the escape key.</param>
    /// <param name="quit">Called with the exit status when the user, or a closed output, ends the session.</param>
    /// <param name="save">Called when the user asks for the machine to be saved.</param>
    public SerialConsole(bool escapes, Action<int> quit, Action save)
    {
        (_escapes, _quit, _save) = (escapes, quit, save);
        _writer = new Thread(WriteOutput) { IsBackground = true, Name = "console output" };
        _writer.Start();
        new Thread(ReadInput) { IsBackground = true, Name = "console input" }.Start();
    }

    /// <summary>Where input goes from now on.</summary>
    public void Attach(IConsolePort port)
    {
        port.RoomMade = () =>
        {
            lock (_inputLock)
                Monitor.PulseAll(_inputLock);
        };
        lock (_inputLock)
        {
            _port = port;
            Monitor.PulseAll(_inputLock);
        }
    }

    public void Transmit(byte value)
    {
        lock (_outputLock)
        {
            while (_pendingCount >= OutputLimit && !_closed && !_hurry)
                Monitor.Wait(_outputLock);
            if (_closed || _pendingCount >= OutputLimit)
                return;
            if (_pendingCount == _pending.Length)
                Array.Resize(ref _pending, _pending.Length * 2);
            _pending[_pendingCount++] = value;
            if (!_writing)
                Monitor.PulseAll(_outputLock);
        }
    }

    /// <summary>Shows a line of viv's own among the guest's output.</summary>
    public void Say(string line)
    {
        foreach (byte value in System.Text.Encoding.UTF8.GetBytes($"\r\nviv: {line}\r\n"))
            Transmit(value);
    }

    /// <summary>The session ends from outside: from now on nothing waits for a slow reader, and what does not fit is lost.</summary>
    public void Hurry()
    {
        lock (_outputLock)
        {
            _hurry = true;
            Monitor.PulseAll(_outputLock);
        }
    }

    /// <summary>Waits until everything has been written, however slow the reader is; after <see cref="Hurry"/> at most a second.</summary>
    public void Drain()
    {
        const int step = 100, patience = 1000;
        lock (_outputLock)
        {
            for (int late = 0; (_pendingCount > 0 || _writing) && !_closed && late < patience; late += _hurry ? step : 0)
                Monitor.Wait(_outputLock, step);
        }
    }

    /// <summary>Takes no more output.</summary>
    public void Dispose()
    {
        lock (_outputLock)
        {
            _closed = true;
            _pendingCount = 0;
            Monitor.PulseAll(_outputLock);
        }
    }

    private void WriteOutput()
    {
        byte[] taken = new byte[4096];
        while (true)
        {
            int count;
            lock (_outputLock)
            {
                _writing = false;
                Monitor.PulseAll(_outputLock);
                while (_pendingCount == 0 && !_closed)
                    Monitor.Wait(_outputLock);
                if (_closed)
                    return;
                (taken, _pending) = (_pending, taken);
                (count, _pendingCount) = (_pendingCount, 0);
                _writing = true;
                Monitor.PulseAll(_outputLock);
            }

            if (_output.TryWrite(taken.AsSpan(0, count)))
                continue;
            Dispose();
            _quit(ExitCodes.OutputClosed);
            return;
        }
    }

    private void ReadInput()
    {
        var escape = new ConsoleEscape();
        byte[] typed = new byte[1024], filtered = new byte[1024];
        while (true)
        {
            int count;
            try
            {
                count = _input.Read(typed);
            }
            catch (IOException)
            {
                return;
            }

            if (count <= 0)
                return; // the machine runs on without input
            if (!_escapes)
            {
                Send(typed.AsSpan(0, count));
                continue;
            }

            Send(filtered.AsSpan(0, escape.Filter(typed.AsSpan(0, count), filtered)));
            if (escape.Quit)
            {
                _quit(0);
                return;
            }

            if (escape.Save)
            {
                escape.Save = false;
                _save();
            }

            if (escape.Help)
            {
                escape.Help = false;
                Say("Ctrl-A x ends the machine, Ctrl-A s saves it (--save) and ends, Ctrl-A Ctrl-A sends Ctrl-A");
            }
        }
    }

    private void Send(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            IConsolePort? port;
            lock (_inputLock)
                port = _port;
            if (port is not null)
                bytes = bytes[port.Receive(bytes)..];
            if (bytes.IsEmpty)
                return;
            lock (_inputLock)
                Monitor.Wait(_inputLock, 100); // room may have been made before we came to wait
        }
    }
}
