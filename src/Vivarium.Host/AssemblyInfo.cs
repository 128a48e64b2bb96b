// Only blittable types cross to native code here, so that no marshalling code is ever needed (or generated).
[assembly: System.Runtime.CompilerServices.DisableRuntimeMarshalling]
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("Vivarium.Host.Tests")]
