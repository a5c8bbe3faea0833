// Partial sums of squares of the residual stream, for the norms that follow.
#ifndef SQUARES_GLSL
#define SQUARES_GLSL

const uint SQUARES_BLOCK = 256; // columns in one partial sum of squares

#endif
