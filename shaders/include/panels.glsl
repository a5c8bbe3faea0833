// Matrices in panels: PANEL_ROWS rows by PANEL_COLUMNS columns of 16-bit elements, each panel row-major and in one piece of 1 KiB, the
// panels of the same rows one after another. Products stream them: what a subgroup reads at a time is in one piece, or in whole
// lines, and a chunk of eight columns is one load.
#ifndef PANELS_GLSL
#define PANELS_GLSL

#include "weights.glsl"

const uint PANEL_ROWS = 16;
const uint PANEL_COLUMNS = 32;
const uint PANEL_CHUNKS = 64; // of a panel, 16 bytes each

// The chunk that holds eight columns from column on, a multiple of 8; a row has so many panels.
uint chunkOf(uint row, uint column, uint panels) {
    return (row / PANEL_ROWS * panels + column / PANEL_COLUMNS) * PANEL_CHUNKS + row % PANEL_ROWS * 4 + column % PANEL_COLUMNS / 8;
}

// What a product's operand may hold: f16 ends at 65504, and a row that passes it should not become infinite.
vec4 bounded(vec4 v) { return TYPE == 1 ? clamp(v, vec4(-65504.0), vec4(65504.0)) : v; }

// Writes eight, four columns of a row of halves: activations in panels of TYPE, as products read them.
void storeHalves8(uint64_t halves, uint row, uint column, uint panels, Eight v) {
    store8(halves, chunkOf(row, column, panels) * 8, Eight(bounded(v.lo), bounded(v.hi)));
}
void storeHalves4(uint64_t halves, uint row, uint column, uint panels, vec4 v) {
    store4(halves, chunkOf(row, column / 8 * 8, panels) * 8 + column % 8, bounded(v));
}

#endif
