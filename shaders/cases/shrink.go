package cases

import (
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

func shrinkCases() []Case {
	var out []Case
	for _, c := range []struct {
		t        shaders.Type
		in       int
		sites    int
		normed   bool
		gathered bool
		beside   bool // a product
		sliced   bool // as many slices as fit
		describe string
		runs     []run
	}{
		{shaders.F32, 100, 3, true, false, false, false, "mixed", mixedRuns},
		{shaders.F16, 1000, 2, true, false, true, false, "mixed, beside a product", mixedRuns},
		{shaders.BF16, 2176, 3, true, false, true, false, "mixed, beside a product", mixedRuns},
		{shaders.BF16, 2176, 3, true, false, false, false, "mixed", mixedRuns},
		{shaders.BF16, 4096, 1, false, false, false, false, "one row", []run{{4, 1}}},
		{shaders.F32, 99, 1, true, true, true, false, "mixed, gathered", mixedRuns},
		{shaders.F16, 264, 1, true, true, true, false, "mixed, gathered", mixedRuns},
		{shaders.BF16, 1000, 1, true, true, true, false, "mixed, gathered", mixedRuns},
		{shaders.BF16, 264, 1, true, false, false, false, "many rows", inTiles([]run{{0, 260}, {4, 261}})},
		{shaders.BF16, 4096, 1, false, false, true, true, "mixed, sliced", mixedRuns},
		{shaders.F16, 72, 1, true, false, true, true, "mixed, sliced", mixedRuns}, // fewer panels than subgroups
	} {
		out = append(out, Case{
			Name: fmt.Sprintf("shrink/%v/%d columns, %d sites, %s", c.t, c.in, c.sites, c.describe), Stem: "shrink",
			Limit: 8e-6, // in style Lanes one lane adds up all columns one by one, and few results share the error
			Build: func(s *Setup) Run {
				return buildShrink(s, c.t, c.in, c.sites, c.normed, c.gathered, c.beside, c.sliced, tile(c.runs))
			},
		})
	}
	return out
}

func buildShrink(s *Setup, t shaders.Type, in, sites int, normed, gathered, beside, sliced bool, batch tiled) Run {
	const eps = 1e-5
	rows := len(batch.slots)
	set := s.adapters(mixedRanks, in, make([]int, sites), t)
	given := rows
	if gathered {
		given = 2 * rows
	}
	x, _, values := s.Activations(given, in)
	var norm *shaders.Norm
	var gamma []float64
	if normed {
		n, g := s.Norm(values, t, eps)
		norm, gamma = &n, g
	}
	switch {
	case s.Kernels.ShrinksHalves(t):
		values = asHalves(values, gamma, eps, t)
	case normed:
		values = reference.Normed(values, gamma, eps)
	}
	var gather uint64
	if gathered {
		gather, values = s.gather(values, rows)
	}
	half, before := s.Halved(x, rows, in, t, norm, gather)
	slices := 1
	if sliced {
		slices = s.Kernels.ShrinkSlices(t, sites)
	}
	hidden, span := s.Output(rows, sites*slices*set.maxRank)
	adapters := set.ofRows(batch.slots, sites)
	want := reference.Shrink(values, adapters, set.maxRank)
	d := shaders.Shrink{
		Tiles: Place(s, batch.tiles), Table: set.table, SitesPerSlot: set.sitesPerSlot, FirstSite: set.firstSite,
		Sites: sites, X: x, Half: half, In: in, Norm: norm, Gather: gather, Hidden: hidden, MaxRank: set.maxRank, Type: t,
		Beside: beside, Slices: slices, Count: rows, TileCount: len(batch.tiles),
	}.Dispatch(s.Kernels)
	return Run{Before: before, Dispatches: []compute.Dispatch{d}, Check: func() (float64, error) {
		got, err := Read[float32](s, span, rows*hidden.Stride)
		if err != nil {
			return 0, err
		}
		// Past each rank, or the zeros behind it, nothing was written; the twin has zeros there.
		sums := make([]float32, len(want.Values))
		for row := range rows {
			for site, adapter := range adapters[row] {
				untouched := adapter.B.Rows
				if s.Kernels.ShrinksHalves(t) {
					untouched = min(shaders.HiddenColumns(untouched), set.maxRank)
				}
				for i := range slices * set.maxRank {
					v := got[row*hidden.Stride+site*slices*set.maxRank+i]
					if r := i % set.maxRank; r < untouched {
						sums[row*want.Columns+site*set.maxRank+r] += v
					} else if math.Float32bits(v) != poison {
						return math.Inf(1), nil
					}
				}
			}
		}
		return RelativeError(sums, want.Values), nil
	}}
}

// gather places the numbers of some rows in any order, and returns those rows.
func (s *Setup) gather(from reference.Matrix, rows int) (uint64, reference.Matrix) {
	numbers, out := make([]uint32, rows), reference.NewMatrix(rows, from.Columns)
	for t, row := range s.Random.Perm(from.Rows)[:rows] {
		numbers[t] = uint32(row)
		copy(out.Row(t), from.Row(row))
	}
	return Place(s, numbers), out
}
