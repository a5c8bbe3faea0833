package lora

import "lorikeet/shaders"

// Run is a number of consecutive rows of a batch that share a slot; a negative
// slot stands for the base model alone.
type Run struct{ Slot, Rows int }

// Tiles appends the tiles of a batch, whose rows the runs cover in order, and
// returns how many of them have an adapter. Those come first. Neighbouring runs
// with one slot share tiles.
func Tiles(tiles []shaders.RowTile, runs []Run) ([]shaders.RowTile, int) {
	before := len(tiles)
	tiles = appendTiles(tiles, runs, true)
	adapted := len(tiles) - before
	return appendTiles(tiles, runs, false), adapted
}

func appendTiles(tiles []shaders.RowTile, runs []Run, adapted bool) []shaders.RowTile {
	first := 0
	for i := 0; i < len(runs); {
		slot, rows := runs[i].Slot, 0
		for ; i < len(runs) && sameSlot(runs[i].Slot, slot); i++ {
			rows += runs[i].Rows
		}
		if (slot >= 0) == adapted {
			tiles = cut(tiles, first, rows, slot)
		}
		first += rows
	}
	return tiles
}

func sameSlot(a, b int) bool { return a == b || a < 0 && b < 0 }

func cut(tiles []shaders.RowTile, first, rows, slot int) []shaders.RowTile {
	number := uint32(shaders.BaseSlot)
	if slot >= 0 {
		number = uint32(slot)
	}
	for ; rows > 0; rows -= shaders.TileRows {
		tiles = append(tiles, shaders.RowTile{First: uint32(first), Count: uint32(min(rows, shaders.TileRows)), Slot: number})
		first += shaders.TileRows
	}
	return tiles
}
