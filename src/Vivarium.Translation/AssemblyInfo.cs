// Stack buffers of passes are written before they are read.
[module: System.Runtime.CompilerServices.SkipLocalsInit]
