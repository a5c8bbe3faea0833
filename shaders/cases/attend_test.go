package cases

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/shaders"
)

// TestRangesOfAWorkgroupDoNotMatter gives a workgroup of decode attention one or several ranges of the same keys. The bits must be
// the same.
func TestRangesOfAWorkgroupDoNotMatter(t *testing.T) {
	device := computetest.Device(t)
	kernels := shaders.NewStyle(device, shaders.Groups)
	a := attendShape{kind: shaders.BF16, heads: 8, kvHeads: 2, headDim: 128}
	for _, length := range []int{128, 50} {
		seed := rand.Uint64()
		row := func(each int) Case {
			return Case{Name: "ranges", Limit: 2e-6, Build: func(s *Setup) Run { return a.buildDecode(s, []int{300, 7, 128, 700}, length, each, nil) }}
		}
		// The error is a sum over every bit of the output, so an equal one means equal bits.
		want, limit := measure(t, device, kernels, row(1), seed)
		require.LessOrEqual(t, want, limit)
		for _, each := range []int{2, 3, 100} {
			got, _ := measure(t, device, kernels, row(each), seed)
			require.Equal(t, want, got, "seed %d: ranges of %d keys, %d a workgroup", seed, length, each)
		}
	}
}

// TestOnlyTheLastFolds shares the keys of four rows out to two workgroups of a head, and has counters say that somebody is still to come. So the
// row that both have parts of is not written; rows of one workgroup are, whether they have one range or several.
func TestOnlyTheLastFolds(t *testing.T) {
	device := computetest.Device(t)
	a := attendShape{kind: shaders.BF16, heads: 8, kvHeads: 2, headDim: 128}
	lengths := []int{700, 128, 7, 300}
	shared := Case{Name: "shared row", Limit: 1, Build: func(s *Setup) Run {
		c := s.cache(a, lengths)
		qkv, _, _ := s.Activations(len(lengths), (a.heads+2*a.kvHeads)*a.headDim)
		out, span := s.Output(len(lengths), a.heads*a.headDim)
		var rows []shaders.DecodeRow
		ranges := 0
		for row, keys := range lengths {
			rows = append(rows, shaders.DecodeRow{Row: row, Lane: row, Keys: keys, Length: 128, Base: ranges})
			ranges += rows[row].Ranges()
		}
		counters := make([]uint32, len(lengths)*a.kvHeads)
		for i := range counters {
			counters[i] = 1000
		}
		return Run{
			Dispatches: []compute.Dispatch{shaders.AttendDecode{
				QKV: qkv, Out: out, Items: Place(s, shaders.DecodeItems(nil, rows, 2)), PageTable: c.table, MaxPages: c.maxPages,
				Pool: c.pool, PageBytes: c.pageBytes, LayerOffset: c.layerOffset, Heads: a.heads, KVHeads: a.kvHeads, HeadDim: a.headDim,
				Scratch:  address(s.Alloc(int(shaders.AttendDecodeScratch(ranges, a.heads, a.headDim)))),
				Counters: Place(s, counters), Scale: float32(a.scale()), Type: a.kind, Count: 2,
			}.Dispatch(s.Kernels)},
			Check: func() (float64, error) {
				values, err := Read[float32](s, span, len(lengths)*out.Stride)
				for i, v := range values {
					if written := !math.IsNaN(float64(v)); written != (i >= out.Stride) {
						return 0, fmt.Errorf("row %d, column %d: %v", i/out.Stride, i%out.Stride, v)
					}
				}
				return 0, err
			},
		}
	}}
	measure(t, device, shaders.NewStyle(device, shaders.Groups), shared, rand.Uint64())
}
