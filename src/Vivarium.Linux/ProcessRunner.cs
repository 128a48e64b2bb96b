using Vivarium.Host;

namespace Vivarium.Linux;

/// <summary>Runs one guest program to its end: what <c>viv run</c> calls.</summary>
public static class ProcessRunner
{
    /// <summary>Runs the program in a realm of its own and waits for it.</summary>
    /// <returns>The shell's exit status: the guest's code, 128+n after signal n, 126 where the program cannot be executed, 127 where it
    /// does not exist.</returns>
    public static int Run(RunOptions options)
    {
        using var realm = new Realm(options);
        try
        {
            return realm.RunInitial(options);
        }
        finally
        {
            // The calling thread was the guest's: what kicked that must not end the caller's next blocking call.
            HostThread.Current.ClearKick();
        }
    }
}
