// Products y[t,n] = sum_k W[n,k] * x[t,k] by cooperative matrices, both operands in panels (panels.glsl): rows of x are rows of the
// matrices, outputs are columns, sums are fp32. The module says what ELEMENT is.
//
// FRAGMENTS says that lane l of a subgroup of 32 holds, of a matrix of 16 by 16, two pairs of columns of row l / 4 and the same of
// row l / 4 + 8, of the sums likewise, and of the other operand the same with rows for columns. Any order of k serves a product as long as
// both operands have it, so a lane takes the chunks l % 4 of its two rows as they lie in memory: each is half of the lane's share of two
// matrices, which cover the 32 columns of a panel, and nothing has to pass through shared memory or change places. The host looks whether
// the device's matrices are such; elsewhere they are loaded by the language's own means.
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require

layout(constant_id = 1) const uint THREADS = 256;
layout(constant_id = 2) const uint SIZE_M = 16; // of the device's matrices; divisors of 16
layout(constant_id = 3) const uint SIZE_N = 16;
layout(constant_id = 4) const uint SIZE_K = 16;
layout(constant_id = 5) const bool FRAGMENTS = false;
layout(constant_id = 6) const bool NORM = false; // x is scaled by its norm's factor; gamma is in it already
layout(local_size_x_id = 1) in;

#define ROWS coopmat<ELEMENT, gl_ScopeSubgroup, SIZE_M, SIZE_K, gl_MatrixUseA>
#define OUTPUTS coopmat<ELEMENT, gl_ScopeSubgroup, SIZE_K, SIZE_N, gl_MatrixUseB>
#define SUMS coopmat<float, gl_ScopeSubgroup, SIZE_M, SIZE_N, gl_MatrixUseAccumulator>

const uint ACROSS_M = 16 / SIZE_M; // matrices that cover 16 rows
const uint ACROSS_N = 16 / SIZE_N; // and 16 outputs
const uint ACROSS = ACROSS_M * ACROSS_N;
const uint STEPS = 32 / SIZE_K; // and the columns of a panel

// The lane's share of the step-th matrix out of its chunks of both rows.
ROWS rowsOf(uvec4 low, uvec4 high, uint step) {
    ROWS m;
    [[unroll]] for (uint i = 0; i < 2; i++) {
        ELEMENT2 a = elements(low[2 * step + i]);
        ELEMENT2 b = elements(high[2 * step + i]);
        m[2 * i] = a.x;
        m[2 * i + 1] = a.y;
        m[4 + 2 * i] = b.x;
        m[4 + 2 * i + 1] = b.y;
    }
    return m;
}

OUTPUTS outputsOf(uvec4 low, uvec4 high, uint step) {
    OUTPUTS m;
    [[unroll]] for (uint i = 0; i < 2; i++) {
        ELEMENT2 a = elements(low[2 * step + i]);
        ELEMENT2 b = elements(high[2 * step + i]);
        m[2 * i] = a.x;
        m[2 * i + 1] = a.y;
        m[4 + 2 * i] = b.x;
        m[4 + 2 * i + 1] = b.y;
    }
    return m;
}
