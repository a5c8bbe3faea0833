package shaders

import (
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
)

// TestCoopShapes takes the largest matrices that panels and deltas are made of: 16 ranks are whole matrices, chunks of eight outputs parts of them.
func TestCoopShapes(t *testing.T) {
	shape := func(m, n, k int) compute.CoopShape {
		return compute.CoopShape{M: m, N: n, K: k, A: "f16", B: "f16", C: "f32", Out: "f32", Scope: "subgroup"}
	}
	workgroup, half := shape(16, 16, 16), shape(16, 16, 16)
	workgroup.Scope, half.Out = "workgroup", "f16"
	for _, c := range []struct {
		shape compute.CoopShape
		taken bool
	}{
		{shape(16, 16, 16), true}, {shape(8, 8, 8), true}, {shape(16, 8, 16), true}, {shape(4, 8, 8), true},
		{shape(16, 16, 32), false}, {shape(16, 4, 16), false}, {shape(2, 16, 16), false}, {shape(32, 16, 16), false}, {shape(16, 16, 4), false},
		{workgroup, false}, {half, false},
	} {
		_, ok := coopShapes(compute.Info{CooperativeMatrix: []compute.CoopShape{c.shape}})[F16]
		require.Equal(t, c.taken, ok, "%+v", c.shape)
	}
	both := coopShapes(compute.Info{CooperativeMatrix: []compute.CoopShape{shape(8, 8, 8), shape(16, 8, 16), shape(16, 16, 32)}})
	require.Equal(t, map[Type]compute.CoopShape{F16: shape(16, 8, 16)}, both)
}
