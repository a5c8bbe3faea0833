// Partial sums of squares of the residual stream, for the norms that follow.
#ifndef SQUARES_GLSL
#define SQUARES_GLSL

const uint SQUARES_UNIT = 8;    // columns in one partial sum of squares where few rows run
const uint SQUARES_QUAD = 32;   // the same where halves are left beside, whose products end four units of a row together
const uint SQUARES_BLOCK = 256; // and by residual as a stage of its own; tiles of many rows sum their own columns

#endif
