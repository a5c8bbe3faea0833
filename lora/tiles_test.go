package lora

import (
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/shaders"
)

func TestTiles(t *testing.T) {
	tiles, adapted := Tiles(nil, []Run{{-1, 2}, {-1, 9}, {3, 1}, {3, 8}, {0, 16}, {-1, 1}})
	const base = uint32(shaders.BaseSlot)
	require.Equal(t, 4, adapted)
	require.Equal(t, []shaders.RowTile{
		{First: 11, Count: 8, Slot: 3}, {First: 19, Count: 1, Slot: 3},
		{First: 20, Count: 8, Slot: 0}, {First: 28, Count: 8, Slot: 0},
		{First: 0, Count: 8, Slot: base}, {First: 8, Count: 3, Slot: base}, {First: 36, Count: 1, Slot: base},
	}, tiles)
	none, adapted := Tiles(tiles[:0], nil)
	require.Empty(t, none)
	require.Zero(t, adapted)
}

// TestTilesCover checks that the tiles cover each row of random batches once,
// under its slot, and that their number is the least possible.
func TestTilesCover(t *testing.T) {
	r := random(t)
	for range 300 {
		var runs []Run
		var slots []int
		for range r.IntN(20) {
			run := Run{Slot: r.IntN(4) - 1, Rows: 1 + r.IntN(30)}
			runs = append(runs, run)
			for range run.Rows {
				slots = append(slots, run.Slot)
			}
		}
		tiles, adapted := Tiles(nil, runs)
		seen := make([]bool, len(slots))
		for i, tile := range tiles {
			require.Equal(t, i < adapted, tile.Slot != shaders.BaseSlot)
			require.LessOrEqual(t, tile.Count, uint32(shaders.TileRows))
			for row := tile.First; row < tile.First+tile.Count; row++ {
				require.False(t, seen[row])
				seen[row] = true
				require.Equal(t, slots[row], int(int32(tile.Slot)))
			}
		}
		require.NotContains(t, seen, false)
		least := 0
		for i := 0; i < len(slots); {
			first := i
			for ; i < len(slots) && slots[i] == slots[first]; i++ {
			}
			least += (i - first + 7) / 8
		}
		require.Len(t, tiles, least)
	}
}

func TestTilesAllocateNothing(t *testing.T) {
	runs := []Run{{0, 20}, {1, 1}, {-1, 300}}
	tiles := make([]shaders.RowTile, 0, 64)
	require.Zero(t, testing.AllocsPerRun(100, func() { Tiles(tiles, runs) }))
}
