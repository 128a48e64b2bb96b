namespace Vivarium.Machine.Boot;

/// <summary>A machine that cannot be put together or started; the message is one line for people, without the <c>cannot boot</c> before it.</summary>
public sealed class BootException(string message) : Exception(message);
