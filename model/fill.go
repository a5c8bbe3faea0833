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

// SplitLength is the number of keys in a range of decode attention, whose
// results are merged in the order of the ranges. It follows from the row's own
// length alone, so that a row's result does not depend on what else is in the
// batch; who reads which range does not matter to the result.
func SplitLength(keys int) int {
	length := minSplit
	for length*maxSplits < keys {
		length *= 2
	}
	return length
}

// fill writes a step's batch into its block.
func (m *Llama) fill(step *Step) {
	b, batch, p := step.block, step.batch, step.body
	rows, ranges, prefills := 0, 0, 0
	m.decodes = m.decodes[:0]
	logits := logitRows{block: b, adjusts: batch.adjustments() > 0}
	m.runs, m.logitRuns = m.runs[:0], m.logitRuns[:0]
	s := &m.shape
	queryTile := m.kernels.QueryTile(s.Heads, s.KVHeads, s.HeadDim, s.Type)
	for i := range batch.Runs {
		run := &batch.Runs[i]
		b.fillRows(run, rows)
		if run.Rows == 1 || p.key.part == decodeBody || m.rowwise() {
			ranges = m.addDecode(run, rows, ranges)
		} else {
			prefills += b.fillPrefill(run, rows, prefills, queryTile)
		}
		m.logitRuns = append(m.logitRuns, lora.Run{Slot: run.Slot, Rows: logits.add(run, rows)})
		m.runs = append(m.runs, lora.Run{Slot: run.Slot, Rows: run.Rows})
		rows += run.Rows
	}
	b.endSlots(rows, logits.rows)
	workgroups := m.kernels.DecodeWorkgroups(ranges, s.KVHeads)
	b.fillDecodes(m.decodes, workgroups)
	tiles, adapterTiles := lora.Tiles(b.tiles[:0], m.runs)
	logitTiles, adapterLogitTiles := lora.Tiles(b.logitTiles[:0], m.logitRuns)

	b.setGrid(gridEmbed, shaders.EmbedGroups(s.Hidden, rows))
	m.setLayerGrids(b, p, rows, batch.Rank, len(tiles), adapterTiles)
	b.setGrid(gridRopeStore, shaders.RopeStoreGroups(s.Heads, s.KVHeads, s.HeadDim, len(tiles)))
	b.setGrid(gridAttendDecode, m.kernels.AttendDecodeGroups(s.Heads, s.KVHeads, s.HeadDim, workgroups))
	b.setGrid(gridAttendPrefill, m.kernels.AttendPrefillGroups(s.Heads, s.KVHeads, s.HeadDim, s.Type, prefills))
	if end := step.end; end != nil {
		if end.key.part == tail {
			m.setLayerGrids(b, end, logits.rows, batch.Rank, len(logitTiles), adapterLogitTiles)
		}
		b.setGrid(end.key.grid(gridShrinkHead), m.kernels.ShrinkGroups(s.Type, batch.Rank, adapterLogitTiles, 1))
		b.setGrid(end.key.grid(gridExpandHead), shaders.ExpandGroups(s.Vocab, adapterLogitTiles))
		b.setGrid(end.key.grid(gridSample), shaders.SampleGroups(logits.rows))
	}
	b.fillOwed(p)
}

// setLayerGrids sizes the dispatches that both bodies and tails have.
func (m *Llama) setLayerGrids(b *block, p *program, rows, rank, tiles, adapterTiles int) {
	s, k := &m.shape, m.kernels
	set := func(g grid, size [3]uint32) { b.setGrid(p.key.grid(g), size) }
	for i, tiling := range p.tilings {
		set(gridQKV+grid(i), tiling.Groups(rows))
	}
	// Where tiles meet the shrink at counters, somebody has to arrive for it even in a program whose step has no adapter; that one sees
	// a base tile.
	rank, adapterTiles = max(1, rank), max(1, adapterTiles)
	set(gridShrinkQKV, k.ShrinkGroups(s.Type, rank, adapterTiles, 3))
	set(gridShrinkO, k.ShrinkGroups(s.Type, rank, adapterTiles, p.slices))
	set(gridShrinkGateUp, k.ShrinkGroups(s.Type, rank, adapterTiles, 2))
	set(gridShrinkDown, k.ShrinkGroups(s.Type, rank, adapterTiles, p.slices))
	set(gridResidual, shaders.ResidualGroups(s.Hidden, tiles))
	set(gridSiluMul, shaders.SiluMulGroups(s.Inner, tiles))
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

// endSlots marks the rows and the logit rows behind the step's, as far as the
// step before had any, so that programs with more rows leave them alone.
func (b *block) endSlots(rows, logits int) {
	for r := rows; r < b.rows; r++ {
		b.slots[r] = shaders.NoRow
	}
	for r := logits; r < b.logits; r++ {
		b.logitSlots[r] = shaders.NoRow
	}
	b.rows, b.logits = rows, logits
}

// rowwise says whether attention takes the rows of prompt chunks one by one, as
// the kernels for CPUs do.
func (m *Llama) rowwise() bool { return m.kernels.Style() == shaders.Lanes }

// splitLength is the keys in a range of a decoding row.
func (m *Llama) splitLength(keys int) int {
	if m.rowwise() {
		return keys
	}
	return SplitLength(keys)
}

// addDecode cuts the keys of each row into ranges, ranges of which came
// before, and returns how many there are then.
func (m *Llama) addDecode(run *Run, row, ranges int) int {
	for r := range run.Rows {
		keys := run.Start + r + 1
		d := shaders.DecodeRow{Row: row + r, Lane: run.Lane, Keys: keys, Length: m.splitLength(keys), Base: ranges}
		m.decodes = append(m.decodes, d)
		ranges += d.Ranges()
	}
	return ranges
}

// fillDecodes shares the ranges of rows out to workgroups.
func (b *block) fillDecodes(rows []shaders.DecodeRow, workgroups int) {
	room := cap(b.decodes)
	if b.decodes = shaders.DecodeItems(b.decodes[:0], rows, workgroups); cap(b.decodes) != room {
		panic("model: more ranges of keys than the step block has room for") // what is not in mapped memory the GPU does not see
	}
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
	adjusts   bool // some of them are adjusted
	rows, ids int
	adjusted  int // adjustments of those before
}

// add collects those of a run and returns how many they are.
func (l *logitRows) add(run *Run, first int) int {
	before := l.rows
	for i, target := range run.Score {
		l.adjust(nil)
		l.addRow(run, first+run.ScoreFrom+i, run.Start+run.ScoreFrom+i, uint32(target), &Sampling{})
	}
	if run.Sample != nil {
		l.adjust(run.Adjust)
		l.addRow(run, first+run.Rows-1, run.Start+run.Rows-1, shaders.SampleToken, run.Sample)
	}
	return l.rows - before
}

// adjust notes what becomes of the next row's logits.
func (l *logitRows) adjust(list []Adjustment) {
	if !l.adjusts {
		return
	}
	l.block.adjusted[l.rows] = shaders.AdjustRow{First: uint32(l.adjusted), Count: uint32(len(list))}
	l.adjusted += copy(l.block.adjustments[l.adjusted:], list)
}

func (l *logitRows) addRow(run *Run, row, position int, target uint32, s *Sampling) {
	l.block.gather[l.rows], l.block.logitSlots[l.rows] = uint32(row), slotOf(run)
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
