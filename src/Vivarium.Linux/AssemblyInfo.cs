using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("Vivarium.Linux.Tests")]
