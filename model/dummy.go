package model

import (
	"context"
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/shaders"
)

// ones are two 16-bit ones, or one 32-bit one, of each type.
var ones = map[shaders.Type]uint32{shaders.F32: 0x3f800000, shaders.F16: 0x3c003c00, shaders.BF16: 0x3f803f80}

// fillRandom gives every planned tensor random weights, made on the device:
// norms are one, matrices have the variance that keeps activations of the size
// of their inputs. It serves benchmarks of a shape without its checkpoint.
func (p *weightPlan) fillRandom(ctx context.Context, d *compute.Device, k *shaders.Kernels) error {
	size := int64(p.shape.Type.Size())
	for i := range p.tensors {
		t := &p.tensors[i]
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := d.Fill(t.span, 0); err != nil {
			return err
		}
		if t.norm {
			if err := d.Fill(t.span.Slice(0, int64(t.width)*size&^3), ones[p.shape.Type]); err != nil {
				return err
			}
			continue
		}
		if !t.panels && t.width != pad(t.width) {
			return fmt.Errorf("model: random weights need widths that are multiples of 8, %q has %d", t.parts[0].name, t.width)
		}
		err := runOnce(d, compute.Stage{Label: "random_fill", Dispatches: []compute.Dispatch{shaders.RandomFill{
			Address: t.span.Address(), Count: t.span.Size / size, Type: p.shape.Type,
			Scale: float32(1 / math.Sqrt(float64(t.width))), Seed: uint32(i),
		}.Dispatch(k)}})
		if err != nil {
			return err
		}
	}
	return nil
}

// FillCache gives every KV page random keys and values, for benchmarks that
// decode at a position without a prompt before it.
func (m *Llama) FillCache() error {
	stage := compute.Stage{Label: "random_fill"}
	for i, b := range m.pool.buffers {
		stage.Dispatches = append(stage.Dispatches, shaders.RandomFill{
			Address: b.Address(), Count: b.Size() / int64(m.shape.Type.Size()), Type: m.shape.Type, Scale: 1, Seed: uint32(i),
		}.Dispatch(m.kernels))
	}
	return runOnce(m.device, stage)
}

// StreamBytes is what every step reads of the weights: all but the embedding
// table, of which it reads a row per token, unless that is the output
// projection as well.
func (m *Llama) StreamBytes() int64 {
	s := &m.shape
	n := m.weights.arena.Used() - int64(s.Context*s.HeadDim*4)
	if m.weights.head.Address != m.weights.embedding.Address {
		n -= int64(s.Vocab) * int64(m.weights.embedding.Stride*s.Type.Size())
	}
	return n
}

// runOnce records, runs and forgets one stage.
func runOnce(d *compute.Device, stage compute.Stage) error {
	program, err := d.Record(stage.Label, []compute.Stage{stage}, nil)
	if err != nil {
		return fmt.Errorf("model: %s: %w", stage.Label, err)
	}
	defer program.Release()
	ticket, err := d.Submit(program)
	if err != nil {
		return fmt.Errorf("model: %s: %w", stage.Label, err)
	}
	return d.Wait(ticket)
}
