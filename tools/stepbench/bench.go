package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/model/checkpoint"
	"lorikeet/tools/yardstick"
)

const (
	samples = 5 // that the timed steps are cut into
	// Before a work is timed it runs for so long, so that a GPU that idled raises its clocks, or for so many steps.
	warmTime  = 200 * time.Millisecond
	warmSteps = 50
	// A sample takes no longer than this, as far as it has several steps.
	sampleTime = 500 * time.Millisecond
)

// errNoRoom means that a work needs more pages than there are.
var errNoRoom = errors.New("no room in the page pool")

// bench is a model with random weights, keys and values.
type bench struct {
	o         options
	device    *compute.Device
	base      lora.Base
	residency *lora.Residency
	model     *model.Llama
	profiler  *compute.Profiler
	placed    uint64             // adapters so far
	idle      []yardstick.Result // of each work, how long the device waited in a step, with -idle
}

// newBench opens a model with room for the largest of the works.
func newBench(d *compute.Device, o options, list []work) (*bench, error) {
	config, err := checkpoint.OpenConfig(o.model)
	if err != nil {
		return nil, err
	}
	var lanes, rows, positions, slots, rank int
	for _, w := range list {
		lanes, rows, slots = max(lanes, len(w.runs)), max(rows, w.rows()), max(slots, len(w.ranks))
		positions = max(positions, w.longest(warmSteps+o.steps))
		for _, r := range w.ranks {
			rank = max(rank, r)
		}
	}
	shape, err := model.ShapeOf(config, positions)
	if err != nil {
		return nil, err
	}
	b := &bench{o: o, device: d, base: shape.Sites()}
	options := model.Options{Rows: rows, Lanes: lanes, Context: positions, MemoryFraction: 0.9, Kernels: o.kernels}
	switch {
	case o.idle:
		b.profiler = compute.NewProgramProfiler(d)
	case o.stages || o.trace != "":
		b.profiler = compute.NewProfiler(d)
	}
	options.Profiler = b.profiler
	largest := lora.Limits{MaxRank: rank, Targets: lora.Targets{true, true, true, true, true, true, true}}
	if slots > 0 {
		if b.residency, err = lora.NewResidency(d, b.base, slots); err != nil {
			return nil, err
		}
		options.Adapters = model.Adapters{
			Table: b.residency.Table(), SitesPerSlot: b.residency.SitesPerSlot(), MaxRank: largest.Products(), Targets: largest.Targets,
			Slots: slots, Bytes: b.base.DeviceBytes(largest),
		}
	}
	if b.model, err = model.Open(context.Background(), d, config, nil, options); err != nil {
		return nil, err
	}
	if err := b.model.FillCache(); err != nil {
		return nil, err
	}
	if slots > 0 {
		return b, b.residency.Attach(b.model.AdapterMemory(), largest)
	}
	return b, nil
}

// measure runs a work and returns its row of the table.
func (b *bench) measure(w work) (yardstick.Result, error) {
	slots, bytes, err := b.place(w.ranks)
	if err != nil {
		return yardstick.Result{}, err
	}
	defer b.drop(slots)
	r, err := newRunner(b, w, slots)
	if err != nil {
		return yardstick.Result{}, err
	}
	defer r.close()
	begin, warm := time.Now(), 0
	for ; warm < warmSteps && time.Since(begin) < warmTime; warm++ {
		if err := r.steps(1); err != nil {
			return yardstick.Result{}, err
		}
	}
	each := max(1, min(b.o.steps/samples, int(sampleTime*time.Duration(warm)/time.Since(begin))))
	if b.profiler != nil {
		b.profiler.Reset()
	}
	r.launching = r.launching[:0]
	var seconds []float64
	for range samples {
		begin := time.Now()
		if err := r.steps(each); err != nil {
			return yardstick.Result{}, err
		}
		seconds = append(seconds, time.Since(begin).Seconds()/float64(each))
	}
	result := yardstick.NewResult(w.name, seconds, b.floor(w)+bytes, 0)
	result.Rows = w.rows()
	result.Host = yardstick.NewResult("launch", r.launching, 0, 0).Us
	switch {
	case b.o.idle && each == 1:
		fmt.Fprintf(os.Stderr, "stepbench: %s: one step is a sample, so how long the device waits is not known\n", w.name)
	case b.o.idle:
		b.idle = append(b.idle, yardstick.NewResult(w.name, waits(b.profiler.Idle(), each), 0, 0))
	}
	return result, r.check()
}

// place puts fresh adapters of these ranks on the device and returns their slots and bytes.
func (b *bench) place(ranks []int) (slots []int, bytes int64, err error) {
	for _, rank := range ranks {
		b.placed++
		a := randomAdapter(b.base, rank, b.placed)
		slot, err := b.residency.PlaceAndWait(a, b.placed)
		if errors.Is(err, lora.ErrNoPages) {
			err = errNoRoom
		}
		if err != nil {
			b.drop(slots)
			return nil, 0, err
		}
		b.residency.Pin(slot)
		slots, bytes = append(slots, slot), bytes+a.Bytes()
	}
	return slots, bytes, nil
}

// drop takes the adapters that were placed last off the device.
func (b *bench) drop(slots []int) {
	for i, slot := range slots {
		b.residency.Unpin(slot)
		b.residency.Drop(b.placed - uint64(len(slots)-1-i))
	}
}

// floor is the bytes that a step must read of weights, keys and values.
func (b *bench) floor(w work) int64 {
	shape := b.model.Shape()
	keys := 0
	for _, p := range w.runs {
		keys += p.start + p.rows
	}
	return b.model.StreamBytes() + int64(keys)*shape.PageBytes()/model.PageTokens
}

// waits adds up the seconds that the device waited in each step, all of which want logits: for its body, and for its head or tail. The first step of each sample is left
// out, for which the host waited until the device had nothing left to do.
func waits(idle []time.Duration, sample int) []float64 {
	var list []float64
	for step := 1; 2*step < len(idle); step++ {
		if step%sample != 0 {
			list = append(list, (idle[2*step-1] + idle[2*step]).Seconds())
		}
	}
	return list
}

// report prints how long the device waited in each work, or where the time of the last one went, if asked.
func (b *bench) report() error {
	if b.o.idle {
		fmt.Println("\nthe device waits in a step for its two programs, µs: median, least, most")
		for _, x := range b.idle {
			fmt.Printf("%s: %.1f, %.1f, %.1f\n", x.Name, x.Us, x.Lowest, x.Highest)
		}
		return nil
	}
	if b.profiler == nil {
		return nil
	}
	fmt.Printf("\n%-14s %8s %12s %10s %8s\n", "stage", "count", "total ms", "mean us", "GB/s")
	for _, row := range b.profiler.Summary() {
		fmt.Printf("%-14s %8d %12.3f %10.2f %8.0f\n", row.Label, row.Count, 1e3*row.Total.Seconds(), 1e6*row.Mean.Seconds(), float64(row.Bytes)/1e9/row.Total.Seconds())
	}
	if b.o.trace == "" {
		return nil
	}
	file, err := os.Create(b.o.trace)
	if err != nil {
		return err
	}
	if err := b.profiler.WriteChromeTrace(file); err != nil {
		return err
	}
	return file.Close()
}

func (b *bench) close() {
	if b.residency != nil {
		b.residency.Close()
	}
	b.model.Close()
}

// randomAdapter targets every site of every layer. Its matrices share one random block: what
// counts here is that each lies in memory of its own.
func randomAdapter(base lora.Base, rank int, id uint64) *lora.Adapter {
	r := rand.New(rand.NewPCG(id, 0))
	widest := 0
	for s := range lora.Sites {
		widest = max(widest, base.In[s], base.Out[s])
	}
	values := make([]float32, rank*((widest+7)&^7))
	for i := range values {
		values[i] = float32(r.NormFloat64()) / 64
	}
	block := base.Type.Encode(values)
	matrix := func(width int) []byte { return block[:rank*((width+7)&^7)*base.Type.Size()] }
	sites := make([]lora.Weights, base.SitesPerSlot())
	for layer := range base.Layers {
		for s := range lora.Sites {
			sites[base.Index(layer, s)] = lora.Weights{Rank: rank, Scale: 1, A: matrix(base.In[s]), B: matrix(base.Out[s])}
		}
	}
	return lora.NewAdapter(fmt.Sprint("random ", id), "", base.Type, sites, base)
}
