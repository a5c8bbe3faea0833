package parity

import (
	"fmt"
	"hash/crc32"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
	"lorikeet/shaders/reference"
)

// trial is a case of an operator on the device.
type trial struct {
	*cases.Setup
	*fixture
	err        error // the first of building
	dispatches []compute.Dispatch
	// compare gives the relative error of what the dispatches left against the outputs of a label.
	compare func(label string) (float64, error)
}

// operators build the trials, by the names of the table.
var operators = map[string]func(*trial){
	"rmsnorm": (*trial).rmsnorm, "rope": (*trial).rope, "project": (*trial).project, "prefill": (*trial).prefill,
	"decode": (*trial).decode, "silu_mul": (*trial).siluMul, "lora": (*trial).lora, "sample": (*trial).sample,
}

// measure runs a case and returns its errors by label, and CUDA's own error in the type against its float32.
func measure(d *compute.Device, k *shaders.Kernels, c *opCase, x *fixture) (map[string]float64, error) {
	t := &trial{fixture: x}
	build, ok := operators[c.operator]
	if !ok {
		return nil, fmt.Errorf("no operator %q", c.operator)
	}
	prepared := cases.Case{Name: c.name, Build: func(s *cases.Setup) cases.Run {
		t.Setup = s
		build(t)
		return cases.Run{}
	}}
	_, setup, err := prepared.Prepare(d, k, 0)
	if err != nil {
		return nil, err
	}
	defer setup.Close()
	if t.err != nil {
		return nil, t.err
	}
	if err := run(d, c.name, t.dispatches); err != nil {
		return nil, err
	}
	errors := map[string]float64{}
	for _, label := range c.labels() {
		if errors[label], err = t.compare(label); err != nil {
			return nil, err
		}
	}
	return errors, nil
}

func (t *trial) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// run executes dispatches one after the other.
func run(d *compute.Device, name string, dispatches []compute.Dispatch) error {
	var stages []compute.Stage
	for _, dispatch := range dispatches {
		stages = append(stages, compute.Stage{Label: dispatch.Label, Dispatches: []compute.Dispatch{dispatch}})
	}
	program, err := d.Record(name, stages, nil)
	if err != nil {
		return err
	}
	defer program.Release()
	ticket, err := d.Submit(program)
	if err != nil {
		return err
	}
	return d.Wait(ticket)
}

// input makes an input of the case again, rounded to its type, and checks that it is the generator's.
func (t *trial) input(name string, rows, columns int, spread, bias float64) reference.Matrix {
	drawn := values(fmt.Sprintf("%d/%s/%s", t.seed, t.fixture.name, name), rows*columns, spread, bias)
	data := t.kind.Encode(drawn)
	if sum, ok := t.Inputs[name]; !ok || sum != crc32.ChecksumIEEE(data) {
		t.fail(fmt.Errorf("input %q is not the one that the fixture was made from", name))
	}
	m := reference.NewMatrix(rows, columns)
	for i, v := range t.kind.Decode(data) {
		m.Values[i] = float64(v)
	}
	return m
}

// transposed turns a matrix.
func transposed(m reference.Matrix) reference.Matrix {
	out := reference.NewMatrix(m.Columns, m.Rows)
	for r := range m.Rows {
		for c, v := range m.Row(r) {
			out.Row(c)[r] = v
		}
	}
	return out
}

// beside puts matrices with the same rows next to each other.
func beside(parts ...reference.Matrix) reference.Matrix {
	columns := 0
	for _, p := range parts {
		columns += p.Columns
	}
	out := reference.NewMatrix(parts[0].Rows, columns)
	for r := range out.Rows {
		row := out.Row(r)
		for _, p := range parts {
			row = row[copy(row, p.Row(r)):]
		}
	}
	return out
}

// padded lays a matrix out in rows that are a multiple of 8 long, the rest zero.
func padded(m reference.Matrix) []float32 {
	stride := cases.Pad8(m.Columns)
	out := make([]float32, m.Rows*stride)
	for r := range m.Rows {
		for c, v := range m.Row(r) {
			out[r*stride+c] = float32(v)
		}
	}
	return out
}

// place puts numbers of a type on the device.
func (t *trial) place(kind shaders.Type, list []float32) uint64 {
	span := t.Bytes(kind.Encode(list))
	if span.Buffer == nil {
		return 0 // Prepare returns the error
	}
	return span.Address()
}

// weights puts a matrix on the device in the case's type.
func (t *trial) weights(m reference.Matrix) shaders.Matrix {
	return shaders.Matrix{Address: t.place(t.kind, padded(m)), Stride: cases.Pad8(m.Columns), Type: t.kind}
}

// rows puts activations on the device.
func (t *trial) rows(m reference.Matrix) shaders.Rows {
	return shaders.Rows{Address: t.place(shaders.F32, padded(m)), Stride: cases.Pad8(m.Columns)}
}

// tiles cuts a batch into tiles and returns how many of them have an adapter.
func (t *trial) tiles(runs []lora.Run) (at uint64, adapted, all int) {
	tiles, adapted := lora.Tiles(nil, runs)
	return cases.Place(t.Setup, tiles), adapted, len(tiles)
}

// compareRows is a comparison of rows on the device with the output "y".
func (t *trial) compareRows(span compute.Span, stride, rows, columns int) func(string) (float64, error) {
	return func(label string) (float64, error) {
		want, err := t.want("y", label, rows, columns)
		if err != nil {
			return 0, err
		}
		return t.CompareRows(span, stride, want)
	}
}
