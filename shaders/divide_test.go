package shaders

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDivided(t *testing.T) {
	for _, c := range []struct {
		describe                    string
		tiles, rows, places, panels int
		want                        int
	}{
		{"no places are known", 48, 1, 0, 128, 48},
		{"every place once", 264, 1, 264, 128, 264},
		{"every place three times", 792, 1, 264, 128, 792},
		{"half of the places", 132, 1, 264, 128, 264},
		{"three times, and half of them", 924, 1, 264, 128, 792 + 264},
		{"more than four fifths of the places", 224, 1, 264, 128, 224},
		{"less", 205, 1, 264, 128, 264},
		{"so few tiles that the parts would be small", 2, 1, 264, 128, 2 * MostParts},
		{"parts of one panel", 2, 1, 264, 3, 6},
		{"four rows share the places, and each tile is halved", 32, 4, 264, 128, 64},
		{"and take turns", 198 + 26, 4, 264, 128, 198 + 66},
		{"one place for each row", 48, 264, 264, 128, 48},
		{"more rows than places", 48, 300, 264, 128, 48},
		{"no rows", 48, 0, 264, 128, 0},
	} {
		require.Equal(t, c.want, divided(c.tiles, c.rows, c.places, c.panels), c.describe)
		groups := Tiling{across: c.tiles, rows: 128, upright: true, places: c.places, panels: c.panels}.Groups(128 * c.rows)
		require.Equal(t, [3]uint32{uint32(c.want), uint32(c.rows), 1}, groups, c.describe)
	}
}

func TestPlaces(t *testing.T) {
	k := withMatrices(t, 32)
	p := Project{W: Matrix{Type: BF16}, In: 4096, Out: 28672, Tokens: 512, Parts: Parts{Address: 1, Multiprocessors: 132}}
	spec, places := p.coopManySpec(k, nil)
	require.Equal(t, spec.Threads*uint32(places), 132*uint32(2*128), "the registers of a multiprocessor hold two large tiles")
	require.LessOrEqual(t, 4*(MostPlaces+int64(places)*int64(spec.tile().rows*spec.tile().outputs)), PartsBytes(132))
	large := manyCut
	large.places *= 2
	_, more := p.coopManySpec(k, &large)
	require.Equal(t, places, more, "no more of them than Parts has room for")
	p.Parts.Multiprocessors = 10000
	_, places = p.coopManySpec(k, nil)
	require.Equal(t, MostPlaces, places)
	k.info.InOrder = false
	_, places = p.coopManySpec(k, nil)
	require.Zero(t, places, "nobody may wait where workgroups start in any order")
	k.info.InOrder, p.Parts = true, Parts{}
	_, places = p.coopManySpec(k, nil)
	require.Zero(t, places)
}
