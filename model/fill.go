package model

import (
	"lorikeet/lora"
	"lorikeet/shaders"
)

const (
	// maxSplits bounds the ranges that the keys of one decoding row are cut into.
	maxSplits = 32
	// minSplit is the shortest such range, in tokens.
	minSplit = 128
)

// SplitLength is the number of keys that one workgroup of decode attention
// reads. It follows from the row's own length alone, so that a row's result
// does not depend on what else is in the batch.
func SplitLength(keys int) int {
	length := minSplit
	for length*maxSplits < keys {
		length *= 2
	}
	return length
}

// fill writes a batch into the step block.
func (m *Llama) fill(b *block, batch *Batch) {
	rows, decodes, prefills := 0, 0, 0
	logits := logitRows{block: b}
	m.runs, m.headRuns = m.runs[:0], m.headRuns[:0]
	s := &m.shape
	queryTile := m.kernels.QueryTile(s.Heads, s.KVHeads, s.HeadDim, s.Type)
	for i := range batch.Runs {
		run := &batch.Runs[i]
		b.fillRows(run, rows)
		if run.Rows == 1 || m.rowwise() {
			decodes += m.fillDecode(b, run, rows, decodes)
		} else {
			prefills += b.fillPrefill(run, rows, prefills, queryTile)
		}
		m.headRuns = append(m.headRuns, lora.Run{Slot: run.Slot, Rows: logits.add(run, rows)})
		m.runs = append(m.runs, lora.Run{Slot: run.Slot, Rows: run.Rows})
		rows += run.Rows
	}
	b.endRows(rows)
	tiles, adapterTiles := lora.Tiles(b.tiles[:0], m.runs)
	_, headTiles := lora.Tiles(b.headTiles[:0], m.headRuns)

	b.setGrid(gridEmbed, shaders.EmbedGroups(s.Hidden, rows))
	// Fused projections need somebody to arrive for the shrink even in a program whose step has no adapter; that one sees a
	// base tile.
	rank, shrinkTiles := max(1, batch.Rank), max(1, adapterTiles)
	b.setGrid(gridShrinkQKV, m.kernels.ShrinkGroups(s.Type, rank, shrinkTiles, 3))
	b.setGrid(gridShrinkO, m.kernels.ShrinkGroups(s.Type, rank, shrinkTiles, 1))
	b.setGrid(gridShrinkGateUp, m.kernels.ShrinkGroups(s.Type, rank, shrinkTiles, 2))
	b.setGrid(gridShrinkDown, m.kernels.ShrinkGroups(s.Type, rank, shrinkTiles, 1))
	b.setGrid(gridRopeStore, shaders.RopeStoreGroups(s.Heads, s.KVHeads, len(tiles)))
	b.setGrid(gridAttendDecode, m.kernels.AttendDecodeGroups(s.Heads, s.KVHeads, s.HeadDim, decodes))
	b.setGrid(gridAttendPrefill, m.kernels.AttendPrefillGroups(s.Heads, s.KVHeads, s.HeadDim, s.Type, prefills))
	b.setGrid(gridResidual, shaders.ResidualGroups(s.Hidden, len(tiles)))
	b.setGrid(gridSiluMul, shaders.SiluMulGroups(s.Inner, len(tiles)))
	b.setGrid(gridShrinkHead, m.kernels.ShrinkGroups(s.Type, batch.Rank, headTiles, 1))
	b.setGrid(gridExpandHead, shaders.ExpandGroups(s.Vocab, headTiles))
	b.setGrid(gridSample, shaders.SampleGroups(logits.rows))
}

// fillRows writes each row's token, position, lane and slot.
func (b *block) fillRows(run *Run, first int) {
	for r := range run.Rows {
		if run.Token == nil {
			b.tokens[first+r] = lastToken | uint32(run.Lane)
		} else {
			b.tokens[first+r] = uint32(run.Token[r])
		}
		b.positions[first+r] = uint32(run.Start + r)
		b.lanes[first+r] = uint32(run.Lane)
		b.slots[first+r] = slotOf(run)
	}
}

// slotOf is a run's slot as the kernels know it.
func slotOf(run *Run) uint32 {
	if run.Slot == Base {
		return shaders.BaseSlot
	}
	return uint32(run.Slot)
}

// endRows marks the rows from the step's last one on, as far as the step before
// had any, so that programs with more rows leave them alone.
func (b *block) endRows(rows int) {
	for r := rows; r < b.rows; r++ {
		b.slots[r] = shaders.NoRow
	}
	b.rows = rows
}

// rowwise says whether attention takes the rows of prompt chunks one by one, as
// the kernels for CPUs do.
func (m *Llama) rowwise() bool { return m.kernels.Style() == shaders.Lanes }

// fillDecode cuts the keys of each row into ranges and returns how many.
func (m *Llama) fillDecode(b *block, run *Run, row, at int) int {
	n := 0
	for r := range run.Rows {
		keys := run.Start + r + 1
		length := keys
		if !m.rowwise() {
			length = SplitLength(keys)
		}
		splits := (keys + length - 1) / length
		for i := range splits {
			first := i * length
			b.decodes[at+n+i] = shaders.DecodeItem{
				Row: uint32(row + r), Lane: uint32(run.Lane),
				First: uint32(first), Count: uint32(min(length, keys-first)),
				Split: uint32(i), Splits: uint32(splits), Base: uint32(at + n),
			}
		}
		n += splits
	}
	return n
}

// fillPrefill cuts a chunk into tiles of queries and returns how many.
func (b *block) fillPrefill(run *Run, row, at, tile int) int {
	n := 0
	for r := 0; r < run.Rows; r += tile {
		b.prefills[at+n] = shaders.PrefillItem{
			Row: uint32(row + r), Rows: uint32(min(tile, run.Rows-r)),
			Lane: uint32(run.Lane), Start: uint32(run.Start + r),
		}
		n++
	}
	return n
}

// logitRows collects the rows whose logits a batch needs.
type logitRows struct {
	block     *block
	rows, ids int
}

// add collects those of a run and returns how many they are.
func (l *logitRows) add(run *Run, first int) int {
	before := l.rows
	for i, target := range run.Score {
		l.addRow(run, first+run.ScoreFrom+i, run.Start+run.ScoreFrom+i, uint32(target), &Sampling{})
	}
	if run.Sample != nil {
		l.addRow(run, first+run.Rows-1, run.Start+run.Rows-1, shaders.SampleToken, run.Sample)
	}
	return l.rows - before
}

func (l *logitRows) addRow(run *Run, row, position int, target uint32, s *Sampling) {
	l.block.gather[l.rows] = uint32(row)
	l.block.samples[l.rows] = shaders.SampleRow{
		Lane: uint32(run.Lane), Target: target,
		Temperature: s.Temperature, TopK: uint32(s.TopK), TopP: s.TopP, MinP: s.MinP,
		SeedLo: uint32(s.Seed), SeedHi: uint32(s.Seed >> 32), Position: uint32(position + 1),
		TopN: uint32(run.Logprobs.Top), IdsOffset: uint32(l.ids), IdsCount: uint32(len(run.Logprobs.IDs)),
	}
	for i, id := range run.Logprobs.IDs {
		l.block.ids[l.ids+i] = uint32(id)
	}
	l.ids += len(run.Logprobs.IDs)
	l.rows++
}
