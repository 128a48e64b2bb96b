using Vivarium.Machine.Devices;

namespace Vivarium.Machine.Tests.Devices;

public class Uart16550Tests : ISerialBackEnd
{
    private const ulong Data = 0, Ier = 1, Iir = 2, Fcr = 2, Lcr = 3, Mcr = 4, Lsr = 5, Msr = 6, Scratch = 7;
    private readonly List<byte> _sent = [];
    private readonly Wire _wire = new();
    private readonly Uart16550 _uart;

    public Uart16550Tests() => _uart = new Uart16550(this, _wire);

    void ISerialBackEnd.Transmit(byte value) => _sent.Add(value);

    private byte Read(ulong register) => (byte)_uart.Read(register, 1);

    private void Write(ulong register, byte value) => _uart.Write(register, 1, value);

    [Fact]
    public void BytesGoOutAndComeIn()
    {
        Write(Data, (byte)'x');
        Assert.Equal("x"u8.ToArray(), _sent);
        Assert.Equal(0x60, Read(Lsr));
        Assert.Equal(2, _uart.Receive("ab"u8));
        Assert.Equal(0x61, Read(Lsr));
        Assert.Equal(((byte)'a', (byte)'b', (byte)0), (Read(Data), Read(Data), Read(Data)));
        Assert.Equal(0x60, Read(Lsr));
    }

    [Fact]
    public void TheTransmitterInterruptsWhenItIsEnabledAndAfterEachByteUntilIirIsRead()
    {
        Assert.Equal(1, Read(Iir));
        Write(Ier, 2);
        Assert.True(_wire.Level);
        Assert.Equal(2, Read(Iir));
        Assert.False(_wire.Level);
        Assert.Equal(1, Read(Iir));
        Write(Data, 1);
        Assert.True(_wire.Level);
        Write(Ier, 0);
        Assert.False(_wire.Level);
        Write(Ier, 2);
        Assert.True(_wire.Level);
    }

    [Fact]
    public void TheReceiverInterruptsFirstByLevelOrTimeout()
    {
        Write(Fcr, 0x81); // FIFOs on, trigger at 8
        Write(Ier, 3);
        _uart.Receive(new byte[3]);
        Assert.Equal(0xcc, Read(Iir));
        _uart.Receive(new byte[5]);
        Assert.Equal(0xc4, Read(Iir));
        for (int i = 0; i < 8; i++)
            Read(Data);
        Assert.Equal(0xc2, Read(Iir));
        Assert.False(_wire.Level);
    }

    /// <summary>What drivers do when they open a port: clear, read once, enable. Nothing typed before is lost.</summary>
    [Fact]
    public void ClearingTheFifoLosesNoInput()
    {
        _uart.Receive("ls"u8);
        Write(Fcr, 7);
        Assert.Equal((0x60, 0), (Read(Lsr), Read(Data)));
        Write(Ier, 1);
        Assert.Equal((0x61, (byte)'l'), (Read(Lsr), Read(Data)));
        Write(Fcr, 7);
        int polls = 0; // firmware that polls sees it too
        while ((Read(Lsr) & 1) == 0)
            Assert.InRange(polls++, 0, 100);
        Assert.Equal((byte)'s', Read(Data));
    }

    /// <summary>xv6 before 2024: its handler reads the receiver until LSR shows no more, sends what waits, and never looks at IIR. It gets on between two
    /// interrupts, and gets one for each byte.</summary>
    [Fact]
    public void ADriverThatNeverReadsIirIsNotInterruptedForEver()
    {
        const ulong claim = 0x20_0004;
        var wire = new Wire();
        var plic = new Plic([wire]);
        var uart = new Uart16550(this, plic.Line(10), plic.Events(10));
        plic.Write(10 * 4, 4, 1);
        plic.Write(0x2000, 4, 1 << 10);
        uart.Write(Ier, 1, 3);
        var waiting = new Queue<byte>("hello"u8.ToArray());
        int interrupts = 0;
        void Serve()
        {
            while (wire.Level)
            {
                Assert.InRange(++interrupts, 0, 20);
                Assert.Equal(10ul, plic.Read(claim, 4));
                while ((uart.Read(Lsr, 1) & 1) != 0)
                    uart.Read(Data, 1);
                if (waiting.TryDequeue(out byte next))
                    uart.Write(Data, 1, next);
                plic.Write(claim, 4, 10);
            }
        }

        Serve();
        Assert.Equal("hello"u8.ToArray(), _sent);
        Assert.Equal(6, interrupts);
        uart.Receive("x"u8); // by level
        Serve();
        Assert.Equal(7, interrupts);
        uart.Write(Data, 1, 1);
        Assert.True(wire.Level);
    }

    [Fact]
    public void AFullQueueTakesNoMoreAndTellsWhenThereIsRoom()
    {
        int calls = 0;
        _uart.RoomMade = () => calls++;
        Assert.Equal(Uart16550.QueueCapacity, _uart.Receive(new byte[5000]));
        Assert.Equal(0, _uart.Receive(new byte[1]));
        Read(Data);
        Assert.Equal(1, calls);
        Assert.Equal(1, _uart.Receive(new byte[2]));
    }

    [Fact]
    public void LoopbackAndScratchAndDivisorAreThere()
    {
        Write(Scratch, 0x5a);
        Assert.Equal(0x5a, Read(Scratch));
        Write(Lcr, 0x80);
        Write(Data, 0x12);
        Write(Ier, 0x34);
        Assert.Equal((0x12, 0x34), (Read(Data), Read(Ier)));
        Write(Lcr, 3);
        Assert.Equal(0, Read(Ier));
        Assert.Empty(_sent);
        Write(Mcr, 0x1f);
        Assert.Equal(0xf0, Read(Msr));
        Write(Data, 7);
        Assert.Empty(_sent);
        Assert.Equal(7, Read(Data));
        Write(Mcr, 0);
        Assert.Equal(0xb0, Read(Msr));
    }

    [Fact]
    public void StateSurvives()
    {
        Write(Ier, 1);
        Write(Scratch, 9);
        _uart.Receive("hi"u8);
        var wire = new Wire();
        var copy = new Uart16550(this, wire);
        Saved.Copy(_uart, copy);
        Assert.True(wire.Level);
        Assert.Equal((9ul, (ulong)'h', (ulong)'i'), (copy.Read(Scratch, 1), copy.Read(Data, 1), copy.Read(Data, 1)));
        Assert.False(wire.Level);
    }
}
