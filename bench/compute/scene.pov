// Reflecting and glass spheres over a chequered plane, with a marble sky: what a ray tracer is asked for.
#version 3.7;
global_settings { assumed_gamma 1.0 max_trace_level 6 }
camera { location <0, 3, -9> look_at <0, 0.8, 0> }
light_source { <8, 12, -8> color rgb 1.2 }
light_source { <-9, 6, -4> color rgb <0.4, 0.4, 0.6> }
plane { y, 0 pigment { checker color rgb <0.9, 0.9, 0.8>, color rgb <0.2, 0.3, 0.4> } finish { reflection 0.15 } }
sky_sphere { pigment { gradient y color_map { [0 rgb <0.7, 0.8, 1>] [1 rgb <0.2, 0.3, 0.7>] } } }
#declare I = 0;
#while (I < 24)
    sphere { <3.2 * cos(I * 0.6) * (0.4 + I / 24), 0.5 + 0.06 * I, 3.2 * sin(I * 0.6) * (0.4 + I / 24)>, 0.45
        #if (mod(I, 3) = 0)
            pigment { rgbt <0.95, 0.95, 1, 0.85> } finish { specular 0.8 reflection 0.1 } interior { ior 1.5 }
        #else
            pigment { marble turbulence 0.9 color_map { [0 rgb <0.9, 0.4, 0.2>] [1 rgb <0.3 + I / 40, 0.5, 0.9>] } } finish { phong 0.9 reflection 0.3 }
        #end
    }
    #declare I = I + 1;
#end
merge { cone { <0, 0, 2>, 1.2, <0, 3, 2>, 0.1 } torus { 1.0, 0.25 translate <0, 1, 2> } pigment { granite scale 0.4 } normal { bumps 0.4 scale 0.1 } finish { specular 0.5 } }
