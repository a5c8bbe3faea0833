package model

import (
	"unsafe"

	"lorikeet/compute"
	"lorikeet/shaders"
)

// grid names the dispatches whose size varies from step to step.
type grid int

const (
	gridEmbed grid = iota
	gridQKV        // from here on the products of a layer, in the order of tilings
	gridO
	gridGateUp
	gridDown
	gridShrinkQKV
	gridShrinkO
	gridShrinkGateUp
	gridShrinkDown
	gridRopeStore
	gridAttendDecode
	gridAttendPrefill
	gridResidual
	gridSiluMul
	gridShrinkHead
	gridExpandHead
	gridSample
	grids
)

// block is a step block: what one step tells the GPU beyond its recorded
// program, and where the GPU answers. There are two, used in turn, so that the
// host fills one while the GPU reads the other.
type block struct {
	buffer  *compute.Buffer // the host writes
	answers *compute.Buffer // the host reads

	grids      []gridSize
	owed       []shaders.FlowOwed // [flowKinds]
	tokens     []uint32           // [row] id, or lastToken|lane
	positions  []uint32           // [row]
	lanes      []uint32           // [row]
	slots      []uint32           // [row] of the adapter table, shaders.BaseSlot, or shaders.NoRow behind the step's rows
	tiles      []shaders.RowTile
	decodes    []shaders.DecodeItem
	prefills   []shaders.PrefillItem
	gather     []uint32          // [logit row] row
	logitSlots []uint32          // [logit row] as slots
	logitTiles []shaders.RowTile // of logit rows
	samples    []shaders.SampleRow
	ids        []uint32 // the tokens that Logprobs.IDs name, all logit rows'

	adjusted    []shaders.AdjustRow  // [logit row], in steps that adjust any
	adjustments []shaders.Adjustment // all logit rows'

	rows, logits int // rows and logit rows of the step

	workgroups [2 * grids]uint32 // of each dispatch: the grids themselves are not to be read back

	results  []shaders.SampleResult // [logit row]
	top      []shaders.TopEntry     // [logit row][MaxTop]
	idScores []float32              // like ids
}

// gridSize is VkDispatchIndirectCommand.
type gridSize struct{ x, y, z uint32 }

// lastToken marks a row whose token is the last one sampled in a lane.
const lastToken = shaders.FromLast

// MaxLogprobIDs is the most tokens that Logprobs.IDs may name.
const MaxLogprobIDs = 64

func newBlock(d *compute.Device, l Limits) (*block, error) {
	b := &block{}
	size := b.layOut(nil, nil, l)
	buffer, err := d.Allocate(size.written, compute.HostWrite)
	if err != nil {
		return nil, err
	}
	answers, err := d.Allocate(size.answered, compute.HostRead)
	if err != nil {
		buffer.Release()
		return nil, err
	}
	b.buffer, b.answers = buffer, answers
	b.layOut(buffer.Bytes(), answers.Bytes(), l)
	clear(buffer.Bytes())
	b.rows, b.logits = l.Rows, l.Logits
	b.endSlots(0, 0)
	clear(answers.Bytes())
	return b, nil
}

type blockSize struct{ written, answered int64 }

// layOut points every list into the mapped memory. With nil memory it only
// measures.
func (b *block) layOut(written, answered []byte, l Limits) blockSize {
	w, a := carver{memory: written}, carver{memory: answered}
	b.grids = carve[gridSize](&w, int(2*grids))
	b.owed = carve[shaders.FlowOwed](&w, int(flowKinds))
	b.tokens = carve[uint32](&w, l.Rows)
	b.positions = carve[uint32](&w, l.Rows)
	b.lanes = carve[uint32](&w, l.Rows)
	b.slots = carve[uint32](&w, l.Rows)
	b.tiles = carve[shaders.RowTile](&w, l.Rows)
	b.decodes = carve[shaders.DecodeItem](&w, max(l.Lanes*maxSplits, l.Rows))
	b.prefills = carve[shaders.PrefillItem](&w, l.Rows)
	b.gather = carve[uint32](&w, l.Logits)
	b.logitSlots = carve[uint32](&w, l.Logits)
	b.logitTiles = carve[shaders.RowTile](&w, l.Logits)
	b.samples = carve[shaders.SampleRow](&w, l.Logits)
	b.ids = carve[uint32](&w, l.Logits*MaxLogprobIDs)
	b.adjusted = carve[shaders.AdjustRow](&w, l.Logits)
	b.adjustments = carve[shaders.Adjustment](&w, l.Adjusts)
	b.results = carve[shaders.SampleResult](&a, l.Logits)
	b.top = carve[shaders.TopEntry](&a, l.Logits*shaders.MaxTop)
	b.idScores = carve[float32](&a, l.Logits*MaxLogprobIDs)
	return blockSize{w.offset, a.offset}
}

// carver cuts typed lists out of a stretch of memory, each 256-byte aligned.
type carver struct {
	memory []byte
	offset int64
}

func carve[T any](c *carver, n int) []T {
	var t T
	at := c.offset
	c.offset = (at + int64(n)*int64(unsafe.Sizeof(t)) + 255) &^ 255
	if c.memory == nil {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&c.memory[at])), n)
}

// address is where the GPU finds a list of the block.
func address[T any](buffer *compute.Buffer, list []T) uint64 {
	base := unsafe.Pointer(unsafe.SliceData(buffer.Bytes()))
	return buffer.Address() + uint64(uintptr(unsafe.Pointer(unsafe.SliceData(list)))-uintptr(base))
}

// indirect is where the GPU finds the size of a dispatch.
func (b *block) indirect(g grid) *compute.Indirect {
	return &compute.Indirect{Buffer: b.buffer, Offset: int64(g) * int64(unsafe.Sizeof(gridSize{}))}
}

func (b *block) setGrid(g grid, size [3]uint32) {
	b.grids[g] = gridSize{x: size[0], y: size[1], z: size[2]}
	b.workgroups[g] = size[0] * size[1] * size[2]
}

func (b *block) release() {
	b.buffer.Release()
	b.answers.Release()
}
