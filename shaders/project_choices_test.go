package shaders

import (
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute/computetest"
)

func TestChoices(t *testing.T) {
	k := NewStyle(computetest.Device(t), Groups)
	p := Project{In: 64, Out: 64, Tokens: 8, W: Matrix{Stride: 64, Type: BF16}}
	list := p.Choices(k)
	require.Greater(t, len(list), 20)
	require.Empty(t, list[0].Source, "what Dispatch takes comes first")
	seen := map[string]bool{}
	for _, c := range list {
		require.False(t, seen[c.Source], c.Source)
		seen[c.Source] = true
	}
	require.Contains(t, seen, "[3]uint32{64, 4, 1}", "the table's cut")
	require.Contains(t, seen, "[3]uint32{128, 4, 1}", "its neighbour")
	p.Tokens = mostFew + 1
	require.Len(t, p.Choices(k), 1, "many rows have one kernel without cooperative matrices")
}

func TestNeighbours(t *testing.T) {
	got := neighbours([][3]uint32{{1, 4, 2}, {2, 4, 2}}, func(s *[3]uint32) []*uint32 { return []*uint32{&s[0], &s[2]} })
	require.Equal(t, [][3]uint32{{1, 4, 2}, {2, 4, 2}, {1, 4, 4}, {1, 4, 1}, {4, 4, 2}, {2, 4, 4}, {2, 4, 1}}, got)
}
