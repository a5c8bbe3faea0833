package cases

import (
	"math"

	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

// base and skipped are the slots of runs without an adapter, and of rows that no tile covers.
const (
	base    = -1
	skipped = -2
)

// run is consecutive rows of one slot.
type run struct{ slot, count int }

// mixedRuns cover full and ragged tiles, one slot in several places, base rows between and a row outside every tile.
var mixedRuns = []run{{0, 8}, {0, 3}, {base, 5}, {1, 1}, {2, 1}, {skipped, 1}, {3, 2}, {4, 6}, {base, 8}, {5, 4}, {6, 7}, {0, 5}}

// mixedRanks are the ranks of mixedRuns' slots.
var mixedRanks = []int{1, 3, 4, 8, 16, 33, 64}

// tallRuns cover tiles of every size, full ones most of all, and tallRanks, the ranks of their slots, go beyond what a kernel holds
// of a row's products at once, by its bias alone or without one.
var (
	tallRuns = []run{
		{0, 8}, {1, 8}, {2, 8}, {3, 8}, {base, 8}, {4, 8}, {5, 8}, {skipped, 1}, {6, 8}, {0, 1}, {0, 2}, {1, 3}, {2, 4}, {1, 1}, {2, 2},
		{base, 1}, {0, 5}, {4, 6}, {5, 7}, {5, 1}, {7, 8},
	}
	tallRanks = []int{130, 64, 16, 8, 128, 128, 12, 5}
)

// tiled is a batch cut into tiles, with the slot of every row.
type tiled struct {
	tiles []shaders.RowTile
	slots []int
	ranks []int // of the slots
}

// skips says whether no tile covers a row.
func (b tiled) skips(row int) bool { return b.slots[row] == skipped }

// tall is a batch of tallRuns.
func tall() tiled {
	b := tile(tallRuns)
	b.ranks = tallRanks
	return b
}

// tile cuts runs of mixedRanks.
func tile(runs []run) tiled {
	b := tiled{ranks: mixedRanks}
	for _, r := range runs {
		if r.slot != skipped {
			slot := uint32(shaders.BaseSlot)
			if r.slot != base {
				slot = uint32(r.slot)
			}
			b.tiles = append(b.tiles, shaders.RowTile{First: uint32(len(b.slots)), Count: uint32(r.count), Slot: slot})
		}
		for range r.count {
			b.slots = append(b.slots, r.slot)
		}
	}
	return b
}

// inTiles cuts runs to at most TileRows rows.
func inTiles(runs []run) []run {
	var list []run
	for _, r := range runs {
		for ; r.count > shaders.TileRows; r.count -= shaders.TileRows {
			list = append(list, run{r.slot, shaders.TileRows})
		}
		list = append(list, r)
	}
	return list
}

// baseTiles is n rows without adapters.
func baseTiles(n int) tiled {
	var runs []run
	for ; n > 0; n -= shaders.TileRows {
		runs = append(runs, run{base, min(n, shaders.TileRows)})
	}
	return tile(runs)
}

// adapterSet is a placed adapter table. It is wider than the kernel under test looks, and what surrounds the sites under
// test would crash who follows it.
type adapterSet struct {
	table        uint64
	sitesPerSlot int
	firstSite    int
	slots        [][]reference.Adapter // [slot][site]
	maxRank      int
}

// adapters places one adapter per rank for sites with the given outputs, sharing an input of in columns. Every other slot
// has biases, and one leaves its last site out when there are several sites.
func (s *Setup) adapters(ranks []int, in int, outs []int, t shaders.Type) adapterSet {
	return s.placeAdapters(ranks, in, outs, t, func(slot int) int { return slot % 2 })
}

// placeAdapters is adapters, with as many biases in each slot as the function says: 0 or 1.
func (s *Setup) placeAdapters(ranks []int, in int, outs []int, t shaders.Type, biasesOf func(slot int) int) adapterSet {
	set := adapterSet{sitesPerSlot: len(outs) + 3, firstSite: 2, maxRank: 64}
	wild := shaders.AdapterSite{A: math.MaxUint64 &^ 0xff, B: math.MaxUint64 &^ 0xff, Rank: 1 << 20, Scale: float32(math.NaN())}
	var table []shaders.AdapterSite
	for slot, rank := range ranks {
		row := make([]shaders.AdapterSite, set.sitesPerSlot)
		for i := range row {
			row[i] = wild
		}
		sites := make([]reference.Adapter, len(outs))
		for site, out := range outs {
			row[set.firstSite+site] = shaders.AdapterSite{}
			if site > 0 && slot == len(ranks)-1 {
				continue
			}
			a, aValues := s.Weights(rank, in, t, 1/math.Sqrt(float64(in)))
			biases := biasesOf(slot)
			set.maxRank = max(set.maxRank, rank+biases)
			b, bValues := s.Weights(rank+biases, out, t, 0.3)
			scale := float32(0.5 + s.Random.Float64())
			row[set.firstSite+site] = shaders.AdapterSite{
				A: a.Address, B: b.Address, Rank: uint32(rank + biases), Scale: scale, Biases: uint32(biases),
			}
			sites[site] = reference.Adapter{A: aValues, B: bValues, Scale: float64(scale)}
		}
		table = append(table, row...)
		set.slots = append(set.slots, sites)
	}
	set.maxRank = shaders.HiddenColumns(set.maxRank)
	set.table = Place(s, table)
	return set
}

// ofRows lists the adapters of each row, zero ones for base rows.
func (a adapterSet) ofRows(slots []int, sites int) [][]reference.Adapter {
	out := make([][]reference.Adapter, len(slots))
	for t, slot := range slots {
		if slot < 0 || a.slots == nil {
			out[t] = make([]reference.Adapter, sites)
		} else {
			out[t] = a.slots[slot]
		}
	}
	return out
}

// hidden places random shrink outputs [row][(site*slices + slice)*maxRank + r] and returns their sums over the slices; past a row's rank they are
// NaN, which nobody may read.
func (s *Setup) hidden(set adapterSet, slots []int, sites, slices int) (shaders.Rows, reference.Matrix) {
	values, sums := s.normal(len(slots), sites*slices*set.maxRank, shaders.F32, 1), reference.NewMatrix(len(slots), sites*set.maxRank)
	for t, adapters := range set.ofRows(slots, sites) {
		for site, adapter := range adapters {
			for i := range slices * set.maxRank {
				r := i % set.maxRank
				v := &values.Row(t)[site*slices*set.maxRank+i]
				if r >= adapter.B.Rows {
					*v = math.NaN()
				}
				sums.Row(t)[site*set.maxRank+r] += *v
			}
		}
	}
	stride := sites*slices*set.maxRank + 8
	return shaders.Rows{Address: address(s.Bytes(shaders.F32.Encode(padded(values, stride)))), Stride: stride}, sums
}

// deltas is what a kernel adds to its input: adapters, and the low-rank products to expand.
type deltas struct {
	set    adapterSet
	site   *shaders.SiteDelta // nil: nothing
	hidden reference.Matrix
}

// deltas places adapters of the batch's ranks for sites with the given inputs and outputs, and random low-rank products in so many slices.
func (s *Setup) deltas(batch tiled, in int, outs []int, t shaders.Type, slices int) deltas {
	set := s.adapters(batch.ranks, in, outs, t)
	at, hidden := s.hidden(set, batch.slots, len(outs), slices)
	return deltas{set, set.delta(at), hidden}
}

// noDeltas is rows without adapters.
func (s *Setup) noDeltas(rows int) deltas { return deltas{hidden: reference.NewMatrix(rows, 0)} }

// delta is the SiteDelta of a set.
func (a adapterSet) delta(hidden shaders.Rows) *shaders.SiteDelta {
	return &shaders.SiteDelta{
		Table: a.table, SitesPerSlot: a.sitesPerSlot, FirstSite: a.firstSite, Hidden: hidden, MaxRank: a.maxRank,
	}
}

// keepSkipped is the content of an output before the run: poison, but for rows outside every tile what has to be
// there afterwards.
func keepSkipped(want reference.Matrix, slots []int) []float32 {
	out := make([]float32, len(want.Values))
	for t, slot := range slots {
		for n, v := range want.Row(t) {
			if slot == skipped {
				out[t*want.Columns+n] = float32(v)
			} else {
				out[t*want.Columns+n] = math.Float32frombits(poison)
			}
		}
	}
	return out
}

// padMatrix appends zero columns up to a multiple of 8.
func padMatrix(m reference.Matrix) reference.Matrix {
	out := reference.NewMatrix(m.Rows, Pad8(m.Columns))
	for r := range m.Rows {
		copy(out.Row(r), m.Row(r))
	}
	return out
}
