package shaders

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
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

// withMatrices is kernels as of a device with matrices of bf16, held by lanes as FRAGMENTS wants it where subgroups are of 32.
func withMatrices(t *testing.T, subgroup int) *Kernels {
	k := NewStyle(computetest.Device(t), Matrices)
	k.info.SubgroupSize = subgroup
	shape := compute.CoopShape{M: 16, N: 16, K: 16}
	if subgroup != 32 {
		shape = compute.CoopShape{M: 8, N: 8, K: 8}
	}
	k.coopShapes = map[Type]compute.CoopShape{BF16: shape}
	k.lanesHold = map[Type]bool{BF16: subgroup == 32}
	return k
}

// A workgroup of project_coop_many shares slices of deltas evenly out, and copies an Epilogue and its rows' slots as one of project_coop.
func TestCoopManyCuts(t *testing.T) {
	for _, lanes := range []int{8, 16, 32} {
		for _, held := range []bool{false, lanes == 32} {
			k := withMatrices(t, lanes)
			k.info.MaxSharedMemory, k.info.MaxWorkgroupInvocations = 48<<10, 256
			k.lanesHold[BF16] = held
			p := Project{W: Matrix{Type: BF16}, In: 64, Out: 264, Tokens: 512}
			p.end = inPlace{kind: EndResidual, lora: true}
			s, _ := p.coopManySpec(k, nil)
			name := fmt.Sprintf("subgroups of %d, held %v: %+v", lanes, held, s)
			require.True(t, s.fits(k.info), name)
			require.GreaterOrEqual(t, int(s.Threads), EpiloguePairs, name)
			require.GreaterOrEqual(t, int(s.Threads), s.tile().rows, name)
		}
	}
}

// Subgroups share rows of wide products of 33 to 64 rows, and with more than 48 take more shared memory for that than stages that flow divide off.
func TestSharesRows(t *testing.T) {
	for _, c := range []struct {
		tokens, out, subgroup int
		shares, large         bool
	}{
		{32, 28672, 32, false, false}, {33, 28672, 32, true, false}, {48, 28672, 32, true, false}, {49, 28672, 32, true, true},
		{mostFew, wideOutputs, 32, true, true}, {mostFew, wideOutputs - 1, 32, false, false},
		{mostFew + 1, 28672, 32, false, false}, {48, 28672, 16, false, false},
	} {
		k, p := withMatrices(t, c.subgroup), Project{W: Matrix{Type: BF16}, In: 64, Out: c.out, Tokens: c.tokens}
		s := p.coopSpec(k, nil)
		require.Equal(t, c.shares, s.Shared && !p.byCoopMany(k), "%+v", c)
		require.Equal(t, c.large, s.large() && !p.byCoopMany(k), "%+v", c)
	}
}

// Products of few outputs that flow take more shared memory than the smaller division, if need be by what is spare.
func TestFlowDivision(t *testing.T) {
	k := withMatrices(t, 32)
	k.info.Multiprocessors = 132
	for tokens := range mostFew {
		p := Project{W: Matrix{Type: BF16}, In: 64, Out: fewOutputs, Tokens: tokens + 1, end: inPlace{flow: 1}}
		s := p.coopSpec(k, nil)
		require.GreaterOrEqual(t, s.shared(), lessDivision, "%d rows", p.Tokens)
		require.LessOrEqual(t, s.shared()+ownMemory, flowDivision, "%d rows", p.Tokens)
		p.end.flow = 0
		require.Zero(t, p.coopSpec(k, nil).Spare)
	}
}

// A workgroup of project_coop copies an Epilogue by one thread for each pair of words. A subgroup has one block of deltas at most, and
// those lie where the sums were. Where sides share x, each invocation loads as many chunks.
func TestCoopCuts(t *testing.T) {
	for _, tokens := range []int{65, mostNarrow} {
		require.False(t, Project{W: Matrix{Type: BF16}, In: 64, Out: 264, Tokens: tokens}.byCoopMany(withMatrices(t, 32)))
	}
	for _, subgroup := range []int{8, 16, 32} {
		k := withMatrices(t, subgroup)
		for _, tokens := range []int{1, 16, 17, 32, 33, 48, 64, 65, 2 * mostFew, 2*mostFew + 1, mostNarrow} {
			for _, out := range []int{264, 4096, 6144, 28672} {
				for _, head := range []uint32{32, 64, 96, 128} {
					p := Project{W: Matrix{Type: BF16}, In: 64, Out: out, Tokens: tokens}
					p.end = inPlace{kind: EndRopeStore, headDim: head, lora: tokens <= mostDeltas}
					s := p.coopSpec(k, nil)
					name := fmt.Sprintf("%d rows, %d outputs, heads of %d, subgroups of %d: %+v", tokens, out, head, subgroup, s)
					require.GreaterOrEqual(t, int(s.Threads), EpiloguePairs, name)
					require.GreaterOrEqual(t, int(s.Threads), s.tile().rows, name)
					if s.Lora {
						blocks, subgroups := s.RowTiles*s.Sides*s.Strips, s.Split*s.Sides
						require.LessOrEqual(t, blocks, subgroups, name)
						require.LessOrEqual(t, subgroups/blocks*blocks, max(s.Split, s.RowTiles)*s.Sides*s.Strips, name)
					}
					require.Zero(t, head%(s.Sides*s.Strips*PanelRows), name)
					require.LessOrEqual(t, s.shared(), 48<<10, name)
					require.False(t, s.Shared && s.Lora, name)
					require.True(t, !s.Shared || subgroup == 32 && s.slice()%int(s.Threads) == 0, name)
				}
			}
		}
	}
}
