global using Binary32 = Vivarium.RiscV.FloatingPoint.SoftFloat<Vivarium.RiscV.FloatingPoint.Binary32Format>;
global using Binary64 = Vivarium.RiscV.FloatingPoint.SoftFloat<Vivarium.RiscV.FloatingPoint.Binary64Format>;
