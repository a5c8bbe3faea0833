package main

import (
	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
	"lorikeet/tools/yardstick"
)

// spread is the standard deviation of the pool's values: sums over a few thousand products with activations then have
// about that of the activations.
const spread = 1.0 / 64

// rotated is how many bytes of weights the runs of a row go through, more than any cache keeps; mostSets bounds the sets
// that small weights are cut into.
const (
	rotated  = 1 << 30
	mostSets = 1000
)

// pool is random bf16 values, out of which rows cut their weights and keys and values.
type pool struct {
	device *compute.Device
	arena  *compute.Arena
	span   compute.Span
}

// newPool takes as much as one buffer may have, up to 5 GiB, or an eighth of what is free.
func newPool(d *compute.Device, k *shaders.Kernels) (*pool, error) {
	info := d.Info()
	size := min(int64(5<<30), info.MaxAllocation, info.LocalFree/8) &^ 255
	if d.Info().Type == compute.CPU {
		size = min(size, 256<<20) // its caches are small, and its memory is slow to fill
	}
	p := &pool{device: d, arena: d.NewArena("pool", compute.Private, size)}
	var err error
	if p.span, err = p.arena.Alloc(size); err != nil {
		p.arena.Close()
		return nil, err
	}
	_, err = yardstick.Seconds(d, shaders.RandomFill{Address: p.span.Address(), Count: size / 2, Type: shaders.BF16, Scale: spread, Seed: 1}.Dispatch(k))
	return p, err
}

// sets cuts out pieces of a size: enough to be larger than caches, as far as they go; none where not one fits.
func (p *pool) sets(size int) []compute.Span {
	size = (size + 255) &^ 255
	n := min((rotated+size-1)/size, int(p.span.Size)/size, mostSets)
	var list []compute.Span
	for i := range n {
		list = append(list, p.span.Slice(int64(i*size), int64(size)))
	}
	return list
}

// values reads elements of a piece, from the given one on.
func (p *pool) values(from compute.Span, first, count int) ([]float64, error) {
	data := make([]byte, 2*count)
	if err := p.device.Download(data, from.Slice(int64(2*first), int64(len(data)))); err != nil {
		return nil, err
	}
	return wide(shaders.BF16.Decode(data)), nil
}

// row reads one row of a matrix.
func (p *pool) row(from compute.Span, row, columns int) ([]float64, error) {
	return p.values(from, row*cases.Pad8(columns), columns)
}

// panelRow reads one row of a matrix in panels.
func (p *pool) panelRow(from compute.Span, row, columns int) ([]float64, error) {
	var list []float64
	across := (columns + shaders.PanelColumns - 1) / shaders.PanelColumns
	for i := range across {
		at := ((row/shaders.PanelRows*across+i)*shaders.PanelRows + row%shaders.PanelRows) * shaders.PanelColumns
		part, err := p.values(from, at, shaders.PanelColumns)
		if err != nil {
			return nil, err
		}
		list = append(list, part...)
	}
	return list[:columns], nil
}

func wide(list []float32) []float64 {
	out := make([]float64, len(list))
	for i, v := range list {
		out[i] = float64(v)
	}
	return out
}

// runs spreads rows evenly over adapters; none are the base model's rows.
func runs(rows, adapters int) []lora.Run {
	if adapters == 0 {
		return []lora.Run{{Slot: -1, Rows: rows}}
	}
	var list []lora.Run
	for i := range adapters {
		list = append(list, lora.Run{Slot: i, Rows: rows*(i+1)/adapters - rows*i/adapters})
	}
	return list
}
