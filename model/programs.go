package model

import (
	"context"
	"fmt"
	"slices"
	"unsafe"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/shaders"
)

// programKey names a recorded program.
type programKey struct {
	part     part
	rows     int  // bucket: the most rows it can run
	adapters bool // whether it has LoRA work of the embedding and the layers in it
	turn     int  // which step block it reads

	// Of heads and tails: whether it has LoRA work of the head in it, and whether
	// it adjusts logits.
	headAdapters, adjusts bool
}

type part int

const (
	decodeBody part = iota // every row attends by itself
	mixedBody              // prompt chunks as well
	head                   // logits and sampling
	tail                   // the end of the last layer for the rows that want logits, and the head
	parts
)

func (p part) String() string { return [...]string{"decode", "mixed", "head", "tail"}[p] }

// needed says whether there is such a program, in a model whose adapters have
// these targets: bodies and tails have work of layers, heads and tails of the
// head.
func (k programKey) needed(targets lora.Targets) bool {
	switch k.part {
	case head:
		return !k.adapters && (!k.headAdapters || targets[lora.LMHead])
	case tail:
		return !k.headAdapters || k.adapters && targets[lora.LMHead]
	}
	return !k.headAdapters && !k.adjusts
}

func (k programKey) String() string {
	s := fmt.Sprintf("%s %d", k.part, k.rows)
	if k.adapters {
		s += " lora"
	}
	if k.headAdapters {
		s += " lora head"
	}
	if k.adjusts {
		s += " adjusted"
	}
	return s
}

// buckets are the row counts that programs are recorded for: 1, 2, 4, then four
// steps per doubling for mixed batches, so that padding wastes little, and one
// per doubling for the others; decode has 48, too, since products of up
// to 64 rows go by tiles of 16.
func buckets(p part, most int) []int {
	var list []int
	for n := 1; n < most; n *= 2 {
		list = append(list, n)
		switch {
		case p == mixedBody && n >= 32:
			list = append(list, n+n/4, n+n/2, n+3*n/4)
		case p == decodeBody && n == 32:
			list = append(list, 48)
		}
	}
	list = slices.DeleteFunc(list, func(n int) bool { return n >= most })
	return append(list, most)
}

// bucket is the smallest recorded row count that holds n rows.
func bucket(list []int, n int) int {
	i, _ := slices.BinarySearch(list, n)
	return list[i]
}

// record makes every program the model can need. It lists all of them first,
// since a kernel begins to compile when it is first asked for.
func (m *Llama) record(ctx context.Context) error {
	m.buckets = [parts][]int{
		decodeBody: buckets(decodeBody, m.limits.Lanes),
		mixedBody:  buckets(mixedBody, m.limits.Rows),
		head:       buckets(head, m.limits.Logits),
	}
	if n := m.tailRows(); n > 0 {
		m.buckets[tail] = buckets(tail, n)
	}
	m.programs = map[programKey]*program{}
	m.epilogues = m.device.NewArena("epilogues", compute.Local, 1<<20)
	var all []*forward
	for _, key := range m.programKeys() {
		f, err := m.listed(key)
		if err != nil {
			return fmt.Errorf("model: list %s: %w", key, err)
		}
		all = append(all, f)
	}
	for i, f := range all {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		program, err := f.record()
		if err != nil {
			return fmt.Errorf("model: record %s: %w", f.key, err)
		}
		m.programs[f.key], all[i] = program, nil
	}
	return nil
}

// programKeys are the programs that the model can need.
func (m *Llama) programKeys() []programKey {
	var keys []programKey
	either := []bool{false, true}
	for p, list := range m.buckets {
		for _, rows := range list {
			for _, adapters := range m.variants() {
				for _, headAdapters := range either {
					for _, adjusts := range either {
						for turn := range m.blocks {
							key := programKey{part: part(p), rows: rows, adapters: adapters, turn: turn, headAdapters: headAdapters, adjusts: adjusts}
							if key.needed(m.adapters.Targets) {
								keys = append(keys, key)
							}
						}
					}
				}
			}
		}
	}
	return keys
}

// program is a recorded one.
type program struct {
	*compute.Program
	key     programKey
	tilings tilings
	slices  int              // of the shrinks of one site
	flows   bool             // its layers' stages do
	owed    [perLayer]uint32 // workgroups of the products, where stages flow
}

// tilings are how the products of a layer cover rows, in the order of their
// grids: nothing where stages flow or tiles meet the shrink at counters, for
// which the grid is fixed.
type tilings [perLayer]shaders.Tiling

// perLayer is the projections of a layer.
const perLayer = 4

// listed lists one program, with a place on the device for the parameters of
// its fused projections.
func (m *Llama) listed(key programKey) (*forward, error) {
	f := m.forward(key)
	if key.part != head && f.fused() {
		projections := m.shape.Layers * perLayer
		if key.part == tail {
			projections = perLayer - 1 // not qkv
		}
		var err error
		if f.parameters, err = m.epilogues.Alloc(int64(projections) * int64(unsafe.Sizeof(shaders.Epilogue{}))); err != nil {
			return nil, err
		}
		f.epiloguesAt = f.parameters.Address()
	}
	f.list()
	return f, nil
}

// record makes the program that is listed.
func (f *forward) record() (*program, error) {
	if len(f.epilogues) > 0 {
		bytes := bytesOf(f.epilogues)
		if err := f.device.Upload(f.parameters.Slice(0, int64(len(bytes))), bytes); err != nil {
			return nil, err
		}
	}
	recorded, err := f.device.Record(f.key.String(), f.stages, f.profiler)
	return &program{recorded, f.key, f.tilings, f.slices(1), f.flow != nil, f.owed}, err
}

// variants are the kinds of program that are recorded: without adapter work and,
// where adapters are served, with it.
func (m *Llama) variants() []bool {
	if m.adapters.enabled() {
		return []bool{false, true}
	}
	return []bool{false}
}

// list lists the program's stages.
func (f *forward) list() {
	switch f.key.part {
	case head:
		f.head()
	case tail:
		f.tail()
	default:
		f.body()
	}
}

// unrun lists the stages of a program that nobody will run.
func (m *Llama) unrun(key programKey) *forward {
	f := m.forward(key)
	f.list()
	return f
}
