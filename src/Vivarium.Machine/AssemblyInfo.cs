[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("Vivarium.Machine.Tests")]
