package main

import (
	"errors"
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
	"lorikeet/tools/yardstick"
)

// row is a line of the table.
type row struct {
	name  string
	warm  func(k *shaders.Kernels) // begins to compile the row's kernels; nil: they compile quickly
	build func(t *trial)
}

// trial is a row on the device.
type trial struct {
	*cases.Setup
	device *compute.Device
	pool   *pool
	err    error              // the first of building
	fills  []compute.Dispatch // random values for activations

	sets  [][]compute.Dispatch // the same work on different memory; the dispatches of a set depend on each other
	bytes int64                // that a set has to move at least
	flops int64
	limit float64
	check func() (float64, error) // relative error of what one run of the first set left
}

// errNoRoom means that the device's memory is too small for the row.
var errNoRoom = errors.New("no room on the device")

func (t *trial) fail(err error) {
	if t.err == nil && err != nil {
		t.err = err
	}
}

// sized are sets of weights; a row for which there is no room fails.
func (t *trial) sized(bytes int) []compute.Span {
	list := t.pool.sets(bytes)
	if len(list) == 0 {
		t.fail(errNoRoom)
	}
	return list
}

// random places fp32 rows of random values of a standard deviation.
func (t *trial) random(rows, columns int, deviation float32) (shaders.Rows, compute.Span) {
	y, span := t.Output(rows, columns)
	if span.Buffer != nil {
		t.fills = append(t.fills, shaders.RandomFill{
			Address: span.Address(), Count: int64(rows * y.Stride), Type: shaders.F32, Scale: deviation, Seed: uint32(100 + len(t.fills)),
		}.Dispatch(t.Kernels))
	}
	return y, span
}

// floats reads fp32 values.
func (t *trial) floats(span compute.Span, first, count int) ([]float64, error) {
	data := make([]byte, 4*count)
	if err := t.device.Download(data, span.Slice(int64(4*first), int64(len(data)))); err != nil {
		return nil, err
	}
	return wide(shaders.F32.Decode(data)), nil
}

// refill gives the activations their values, the same each time.
func (t *trial) refill() error {
	if len(t.fills) == 0 {
		return nil
	}
	_, err := yardstick.Seconds(t.device, t.fills...)
	return err
}

// run builds a row, checks its result and times it.
func (b *bench) run(r row) (samples []float64, t *trial, err error) {
	t, err = b.prepare(r)
	if err != nil {
		return nil, nil, err
	}
	defer t.Close()
	if err := t.verify(); err != nil {
		return nil, nil, err
	}
	samples, err = t.time()
	return samples, t, err
}

// prepare builds a row on the device; the caller closes the trial.
func (b *bench) prepare(r row) (*trial, error) {
	t := &trial{device: b.device, pool: b.pool, limit: 1e-5}
	_, setup, err := cases.Case{Name: r.name, Build: func(s *cases.Setup) cases.Run {
		t.Setup = s
		r.build(t)
		return cases.Run{}
	}}.Prepare(b.device, b.kernels, 1)
	if err != nil {
		return nil, err
	}
	if t.err == nil {
		t.err = t.refill()
	}
	if t.err != nil {
		setup.Close()
		return nil, t.err
	}
	return t, nil
}

// verify runs the first set once and compares what it left; no time counts of a kernel that computes something else.
func (t *trial) verify() error {
	if _, err := yardstick.Seconds(t.device, t.sets[0]...); err != nil {
		return err
	}
	relative, err := t.check()
	if err != nil {
		return err
	}
	if !(relative <= t.limit) {
		return fmt.Errorf("the result is off by %.3g, more than %g", relative, t.limit)
	}
	return nil
}

// How long a row is timed: samples of about so many seconds, and so many of them. Before that it runs for a while, since a GPU
// that idled, as it does while rows are built and checked, needs that long to raise its clocks.
const (
	sampleSeconds = 4e-3
	sampleCount   = 11
	warmSeconds   = 0.12
)

// time returns the seconds of one run of a set, several samples. A sample goes through the sets as often as makes it long
// enough for the clock; they follow each other as the stages of a model do, each with its barrier.
func (t *trial) time() ([]float64, error) {
	first, err := yardstick.Seconds(t.device, t.sets[0]...)
	if err != nil {
		return nil, err
	}
	n := max(1, min(len(t.sets), int(math.Ceil(sampleSeconds/first))))
	if n < len(t.sets) {
		// Few sets per sample, so each sample takes the next ones: the last to be read again is the one longest out of the cache.
		return t.timeInTurn(n)
	}
	repeat := int(math.Ceil(sampleSeconds / (first * float64(n))))
	var chain []compute.Dispatch
	for range max(1, repeat) {
		for _, set := range t.sets {
			chain = append(chain, set...)
		}
	}
	return t.chains([][]compute.Dispatch{chain}, max(1, repeat)*len(t.sets))
}

// timeInTurn cuts the sets into chains of n.
func (t *trial) timeInTurn(n int) ([]float64, error) {
	var chains [][]compute.Dispatch
	for i := 0; i+n <= len(t.sets); i += n {
		var chain []compute.Dispatch
		for _, set := range t.sets[i : i+n] {
			chain = append(chain, set...)
		}
		chains = append(chains, chain)
	}
	return t.chains(chains, n)
}

// chains times chains of so many runs in turn.
func (t *trial) chains(list [][]compute.Dispatch, runs int) ([]float64, error) {
	var clocks []*yardstick.Clock
	for _, chain := range list {
		c, err := yardstick.NewClock(t.device, "timed", chain)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		clocks = append(clocks, c)
	}
	var samples []float64
	warm := 0.0
	for i := 0; len(samples) < max(sampleCount, len(clocks)); i++ {
		seconds, err := clocks[i%len(clocks)].Seconds()
		if err != nil {
			return nil, err
		}
		if i < len(clocks) || warm < warmSeconds {
			warm += seconds
			continue
		}
		samples = append(samples, seconds/float64(runs))
	}
	return samples, nil
}
