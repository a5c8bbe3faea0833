package shaders

import (
	"fmt"

	"lorikeet/compute"
)

// Ending is what becomes of a projection's outputs: a RopeStore of its q, k and v, a Residual that adds it, or a SiluMul
// of its gate and up. In a Fused projection the ending's tiles, counts and input are not used.
type Ending interface {
	ending() (kind uint32, e Epilogue)
}

// Fused is a projection whose kernel ends its own outputs, with the LoRA deltas in them, so that no stage stands between
// the projection and who reads the result. See Kernels.Fuses.
//
// Shrink and projection run together in one stage. In a stage that flows, tiles wait for the shrink, which comes first for that. Elsewhere an
// output tile's last step is taken by whoever comes last of its projection and the shrink (include/arrive.glsl), with the same bits
// either way. Only where products go by cooperative matrices in a stage that does not flow, the shrink has a stage of its own before; see
// Kernels.ShrinksBefore.
type Fused struct {
	Project  Project // Y: where outputs wait for the shrink; RopeStore leaves the turned queries there
	Ending   Ending
	Shrink   *Shrink // nil without adapters; every row of the step is in one of its tiles or has no adapter
	Slots    uint64  // uint32 [t]: row of the adapter table, BaseSlot, or NoRow for a row that the step does not have
	Arrivals uint64  // uint32, ArrivalsBytes of them, zero before and after; unused without adapters, with Flow, or where Kernels.ShrinksBefore
	At       uint64  // where the Epilogue will lie
	Flow     uint64  // of the stage, if it flows; see Flow
}

// mostFused is the number of rows up to which stages flow where products end their outputs, and up to which a fused projection is used on GPUs
// where products do not go by cooperative matrices: with more, the stages between are small beside such products, which have other kernels.
const mostFused = mostFew

// mostDeltas is the number of rows up to which products of few rows by matrices end outputs with deltas faster than a stage behind them does.
const mostDeltas = 32

// Fuses says whether projections of so many rows end their own outputs. By cooperative matrices all do, as long as the two halves of a
// head are whole panels' rows; but with adapters, more than mostDeltas and up to mostNarrow rows are faster with the ending in a stage behind and
// the shrink beside the product: see BENCHMARKS, What adapters cost and Endings of many rows.
func (k *Kernels) Fuses(rows, headDim int, t Type, adapters bool) bool {
	if k.Panels(t) {
		apart := adapters && rows > mostDeltas && rows <= mostNarrow
		return headDim%(2*PanelRows) == 0 && !apart
	}
	return k.style == Lanes || rows <= mostFused
}

// ShrinksBefore says whether the shrink of a Fused has to be done before its projection begins.
func (k *Kernels) ShrinksBefore(t Type, flows bool) bool { return k.Panels(t) && !flows }

// FusedSquares is how many columns of so many rows each sum of squares is of that a Fused Residual leaves, unless it is Fine: by matrices
// those of a tile, where tiles of many rows read the sums.
func (k *Kernels) FusedSquares(rows, width int, t Type) int {
	p := Project{W: Matrix{Type: t}, Out: width, Tokens: rows}
	if !p.byCoopMany(k) {
		return k.SquaresUnit(t)
	}
	spec, _ := p.coopManySpec(k, nil)
	return spec.tile().outputs
}

// ArrivalsBytes is the size of Fused.Arrivals for the largest of several projections.
func ArrivalsBytes(outputs, rows int) int64 {
	return 4 * int64(ceilDiv(outputs, unitOutputs)*ceilDiv(rows, mostColumns)+1) // no tile is smaller than that
}

// unitOutputs is the outputs that end together.
const unitOutputs = 8

// Dispatches returns the launches, which run in one stage unless Kernels.ShrinksBefore, and the Epilogue, which has to lie at At before
// they run. The shrink comes first, so that it is done before most tiles are. Tiling is that of the projection.
func (f Fused) Dispatches(k *Kernels) (Epilogue, []compute.Dispatch, Tiling) {
	kind, e := f.Ending.ending()
	p := f.Project
	if f.Shrink != nil && k.Panels(p.W.Type) && p.Tokens > mostDeltas && !p.byCoopMany(k) {
		panic(fmt.Sprintf("shaders: a product of %d rows by matrices leaves outputs with deltas to a stage behind; see Kernels.Fuses", p.Tokens))
	}
	p.end = inPlace{
		at: f.At, slots: f.Slots, arrivals: f.Arrivals, flow: f.Flow, kind: kind, lora: f.Shrink != nil, half: e.Halves != 0, floats: e.Result != 0,
	}
	if kind == EndSiluMul && !p.end.floats && !k.Panels(p.W.Type) {
		panic("shaders: only products by matrices leave halves alone")
	}
	switch end := f.Ending.(type) {
	case RopeStore:
		p.end.headDim = count32(end.HeadDim)
	case Residual:
		p.end.fine = end.Fine
	}
	projection, tile := p.launch(k)
	e.Outputs, e.OutputStride = p.Y.Address, count32(p.Y.Stride)
	e.Slots, e.Arrivals = f.Slots, f.Arrivals
	e.Rows = count32(p.Tokens)
	if e.Units == 0 {
		e.Units = count32(ceilDiv(p.Out, unitOutputs))
	}
	e.TileUnits, e.TileRows = count32(tile.outputs/unitOutputs), count32(tile.rows)
	e.RowTiles = count32(ceilDiv(p.Tokens, tile.rows))
	e.Tiles = e.RowTiles * count32(ceilDiv(p.padded(), tile.outputs))
	if f.Shrink == nil {
		return e, []compute.Dispatch{projection}, p.tiling(tile)
	}
	shrink := *f.Shrink
	if k.ShrinksHalves(shrink.Type) && (shrink.Half == nil || shrink.MaxRank%CoopRanks != 0) {
		panic(fmt.Sprintf("shaders: a shrink beside a product by matrices takes halves (%v) and HiddenColumns (%d)",
			shrink.Half != nil, shrink.MaxRank))
	}
	shrink.scaled = true
	if !k.ShrinksBefore(p.W.Type, p.end.flow != 0) {
		shrink.end = p.end
	}
	return e, []compute.Dispatch{shrink.Dispatch(k), projection}, p.tiling(tile)
}

// inPlace is how a kernel that ends outputs is told so; the zero value is one that does not.
type inPlace struct {
	at, slots, arrivals uint64 // of the Epilogue, and in it
	flow                uint64 // of the stage; 0: it does not flow

	kind    uint32
	lora    bool
	half    bool   // the ending leaves halves
	floats  bool   // and fp32 rows
	headDim uint32 // of a RopeStore
	fine    bool   // of a Residual
}

// head is the kernels' HEAD_DIM, which is not zero where nothing is turned either.
func (p inPlace) head() uint32 { return max(p.headDim, unitOutputs) }

// tileShape is the outputs by rows of one workgroup, and whether the tiles of rows are the grid's second dimension.
type tileShape struct {
	outputs, rows int
	upright       bool
	places        int  // for workgroups, between which tiles are divided
	large         bool // see Tiling.Large
}

// setHalves enters where the result goes once more.
func (e *Epilogue) setHalves(h *Halves) {
	e.Halves, e.HalfPanels, e.Gamma = h.address(), h.panels(), h.gamma()
}

// setDelta enters where the ending's LoRA deltas come from.
func (e *Epilogue) setDelta(d *SiteDelta) {
	if d == nil {
		return
	}
	e.Table, e.SitesPerSlot, e.FirstSite = d.Table, count32(d.SitesPerSlot), count32(d.FirstSite)
	e.Hidden, e.HiddenStride, e.MaxRank = d.Hidden.Address, count32(d.Hidden.Stride), count32(d.MaxRank)
}
