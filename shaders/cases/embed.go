package cases

import (
	"fmt"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

func embedCases() []Case {
	var out []Case
	for _, c := range []struct {
		t        shaders.Type
		width    int
		lora     bool
		describe string
	}{
		{shaders.F32, 100, true, "mixed"},
		{shaders.F16, 97, true, "mixed"},
		{shaders.BF16, 520, true, "mixed"},
		{shaders.BF16, 264, false, "no adapters"},
	} {
		out = append(out, Case{
			Name: fmt.Sprintf("embed/%v/%d columns, %s", c.t, c.width, c.describe), Stem: "embed", Limit: 1e-6,
			Build: func(s *Setup) Run { return buildEmbed(s, c.t, c.width, c.lora) },
		})
	}
	return out
}

func buildEmbed(s *Setup, t shaders.Type, width int, lora bool) Run {
	const vocabulary, lanes = 97, 5
	slots := embedSlots()
	rows := len(slots)
	values := s.normal(vocabulary, width, t, 1)
	stride := Pad8(width)
	table := shaders.Matrix{Address: address(s.Bytes(t.Encode(dirty(values, stride)))), Stride: stride, Type: t}
	last, tokens, ids := make([]uint32, lanes), make([]uint32, rows), make([]int, rows)
	for lane := range last {
		last[lane] = uint32(s.Random.IntN(vocabulary))
	}
	for i := range tokens {
		tokens[i] = uint32(s.Random.IntN(vocabulary))
		ids[i] = int(tokens[i])
		if i%3 == 1 {
			lane := s.Random.IntN(lanes)
			tokens[i] = shaders.FromLast | uint32(lane)
			ids[i] = int(last[lane])
		}
	}
	x, xSpan := s.Output(rows, width)
	var set adapterSet
	var delta *shaders.EmbedDelta
	if lora {
		set = s.placeAdapters(embedRanks, vocabulary, []int{width}, t, func(int) int { return 0 })
		delta = &shaders.EmbedDelta{
			Slots: Place(s, slots), Table: set.table, SitesPerSlot: set.sitesPerSlot, Site: set.firstSite, Vocabulary: vocabulary,
		}
	}
	adapters := make([]reference.Adapter, rows)
	for t, slot := range slots {
		if lora && slot != shaders.BaseSlot {
			adapters[t] = set.slots[slot][0]
		}
	}
	want := reference.Embed(values, ids, adapters)
	half := s.halves(rows, width, t, true)
	squares := reference.Squares(want, half.unit())
	squaresSpan := s.Alloc(4 * rows * squares.Columns)
	begun := s.beginning()
	d := shaders.Embed{
		Table: table, Tokens: Place(s, tokens), LastTokens: Place(s, last), X: x, Squares: address(squaresSpan),
		Half: half.Halves, Width: width, Lora: delta, Flow: &begun.Flow, Count: rows,
	}.Dispatch(s.Kernels)
	return Run{Dispatches: []compute.Dispatch{d}, Check: begun.andBegun(s, s.andHalves(half, xSpan, rows, x.Stride, none, func() (float64, error) {
		return s.worst(output{xSpan, x.Stride, want}, output{squaresSpan, squares.Columns, squares})
	}))}
}

// embedRanks have one that takes several rounds of products.
var embedRanks = append([]int{130}, mixedRanks...)

// embedSlots are the slots of rows in the order of a batch: those of each adapter, then those of the base.
func embedSlots() []uint32 {
	var slots []uint32
	for slot := range embedRanks {
		for range 1 + slot%3 {
			slots = append(slots, uint32(slot))
		}
	}
	return append(slots, shaders.BaseSlot, shaders.BaseSlot, shaders.BaseSlot)
}
