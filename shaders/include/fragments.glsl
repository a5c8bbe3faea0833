// What each lane holds of a product of 16 by 16 matrices: element i of lane l of the first operand at l * 8 + i, of the second 256 behind, of
// the sums as much further. Of the first, element [t][k] is 16 * t + k, of the second [k][n] is 16 * n + k, of the sums [t][n] is 16 * t + n.
// Grid: {1, 1, 1}, one subgroup of 32.
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require

#include "weights.glsl"

layout(local_size_x = 32) in;

layout(push_constant) uniform Push {
    uint64_t result; // fp32 [3][lane][8], written
} push;

shared uvec4 pool[32];
shared float floats[256];

void main() {
    const uint lane = gl_SubgroupInvocationID;
    const vec4 from = vec4(lane * 8);
    pool[lane] = uvec4(packElements(from.xy + vec2(0, 1)), packElements(from.xy + vec2(2, 3)), packElements(from.xy + vec2(4, 5)),
                       packElements(from.xy + vec2(6, 7)));
    for (uint i = 0; i < 8; i++) {
        floats[lane * 8 + i] = from.x + float(i);
    }
    barrier();
    coopmat<ELEMENT, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA> a;
    coopMatLoad(a, pool, 0, 2, gl_CooperativeMatrixLayoutRowMajor);
    coopmat<ELEMENT, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB> b;
    coopMatLoad(b, pool, 0, 2, gl_CooperativeMatrixLayoutColumnMajor);
    coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator> c;
    coopMatLoad(c, floats, 0, 16, gl_CooperativeMatrixLayoutRowMajor);
    for (uint i = 0; i < min(8, a.length()); i++) {
        Floats(push.result).at[lane * 8 + i] = float(a[i]);
    }
    for (uint i = 0; i < min(8, b.length()); i++) {
        Floats(push.result).at[256 + lane * 8 + i] = float(b[i]);
    }
    for (uint i = 0; i < min(8, c.length()); i++) {
        Floats(push.result).at[512 + lane * 8 + i] = c[i];
    }
}
