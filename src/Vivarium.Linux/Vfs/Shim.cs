namespace Vivarium.Linux;
public sealed partial class GuestThread
{
    internal void RaiseSelf(int signal) { }
    internal void SetTemporaryMask(ulong mask) { }
}
