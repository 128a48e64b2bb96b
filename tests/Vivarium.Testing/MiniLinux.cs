using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Testing;

/// <summary>Runs a <see cref="GuestElf"/> on an executor, with the two system calls that test programs need: write and exit.</summary>
public static class MiniLinux
{
    private const int A0 = 10, A1 = 11, A2 = 12, A7 = 17;
    private const ulong Write = 64, Exit = 93;

    /// <summary>Runs the program to its end.</summary>
    /// <param name="output">What it wrote, to whichever descriptor.</param>
    /// <returns>Its exit status, or 128 + 4 / 11 where it trapped.</returns>
    public static int Run(GuestElf elf, Executor executor, MemoryWindow window, out byte[] output)
    {
        foreach (var segment in elf.Segments)
        {
            Assert.Equal(0, window.MapAnonymous(segment.Address, (segment.Size + 4095) & ~4095UL, Protection.Read | Protection.Write | Protection.Execute));
            Assert.Equal(segment.Bytes.Length, window.Write(segment.Address, segment.Bytes));
            executor.InvalidateCode(segment.Address, segment.Size);
        }
        using var hart = new Hart(window) { Pc = elf.Entry };
        using var written = new MemoryStream();
        var buffer = new byte[65536];
        while (true)
        {
            var exit = executor.Run(hart);
            output = written.ToArray();
            if (exit.Cause != TrapCause.EnvironmentCall) return 128 + (exit.Cause == TrapCause.IllegalInstruction ? 4 : 11);
            if (hart[A7] == Exit) return (int)hart[A0];
            Assert.Equal(Write, hart[A7]);
            for (ulong done = 0; done < hart[A2];)
            {
                var part = buffer.AsSpan(0, (int)Math.Min((ulong)buffer.Length, hart[A2] - done));
                Assert.Equal(part.Length, window.Read(hart[A1] + done, part));
                written.Write(part);
                done += (ulong)part.Length;
            }
            hart[A0] = hart[A2];
            hart.Pc += 4;
        }
    }
}
