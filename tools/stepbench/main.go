// Command stepbench times whole decode steps of a model's shape with random
// weights, against the time that the bytes they must read take to stream.
//
//	stepbench -model testdata/shapes/llama-3.1-8b -batch 1,8,32 -adapters 0,1,32 -rank 16 -context 512
//
// The yardstick is a copy kernel measured in the same run: the floor of a step
// is (weights + keys and values + adapters) over its bandwidth.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/model/checkpoint"
	"lorikeet/tools/yardstick"
)

type options struct {
	model, device, trace string
	batches, adapters    []int
	rank, context, steps int
	stages               bool
}

func main() {
	var o options
	var batches, adapters string
	flag.StringVar(&o.model, "model", "testdata/shapes/llama-3.1-8b", "folder with a config.json")
	flag.StringVar(&o.device, "device", "", "device index or part of its name")
	flag.StringVar(&batches, "batch", "1,8,32", "decoding sequences, a list")
	flag.StringVar(&adapters, "adapters", "0,1", "distinct adapters in the batch, a list; more than the batch are left out")
	flag.IntVar(&o.rank, "rank", 16, "rank of every adapter, on all seven projections")
	flag.IntVar(&o.context, "context", 512, "tokens before the step")
	flag.IntVar(&o.steps, "steps", 100, "steps timed")
	flag.BoolVar(&o.stages, "stages", false, "print the time of each stage, from GPU timestamps")
	flag.StringVar(&o.trace, "trace", "", "write a Chrome trace of the profiled steps here")
	flag.Parse()
	o.batches, o.adapters = numbers(batches), numbers(adapters)
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "stepbench:", err)
		os.Exit(1)
	}
}

func numbers(list string) []int {
	var out []int
	for _, word := range strings.Split(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			fmt.Fprintln(os.Stderr, "stepbench: a list of numbers, not", list)
			os.Exit(2)
		}
		out = append(out, n)
	}
	return out
}

func run(o options) error {
	device, err := compute.Open(compute.Options{Device: o.device})
	if err != nil {
		return err
	}
	defer device.Close()
	info := device.Info()
	bandwidth, err := yardstick.CopyBandwidth(device)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %s; copy bandwidth %.2f TB/s\n", info.Name, info.Driver, bandwidth/1e12)
	begin := time.Now()
	b, err := newBench(device, o)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Printf("model of %.2f GB ready after %.2f s\n", float64(b.model.StreamBytes())/1e9, time.Since(begin).Seconds())
	fmt.Printf("%6s %9s %9s %10s %10s %7s\n", "batch", "adapters", "ms/step", "tokens/s", "floor ms", "ratio")
	for _, batch := range o.batches {
		for _, adapters := range o.adapters {
			if adapters > batch {
				continue
			}
			perStep, err := b.time(batch, adapters)
			if err != nil {
				return err
			}
			floor := b.floor(batch, adapters) / bandwidth
			fmt.Printf("%6d %9d %9.3f %10.1f %10.3f %7.2f\n", batch, adapters, 1e3*perStep, float64(batch)/perStep, 1e3*floor, perStep/floor)
		}
	}
	return b.report()
}

// bench is a model with random weights, keys, values and adapters.
type bench struct {
	o         options
	device    *compute.Device
	residency *lora.Residency
	model     *model.Llama
	profiler  *compute.Profiler
	slots     []int
	pages     []int32 // of the lanes, PagesFor(Limits.Context) each
	adapter   int64   // bytes of one
}

func newBench(d *compute.Device, o options) (*bench, error) {
	config, err := checkpoint.OpenConfig(o.model)
	if err != nil {
		return nil, err
	}
	lanes, adapters := maximum(o.batches), max(1, maximum(o.adapters))
	positions := o.context + 2*o.steps*len(o.batches)*len(o.adapters) + 64
	shape, err := model.ShapeOf(config, positions)
	if err != nil {
		return nil, err
	}
	base := shape.Sites()
	largest := lora.Limits{MaxRank: o.rank, Targets: lora.Targets{true, true, true, true, true, true, true}}
	b := &bench{o: o, device: d}
	if b.residency, err = lora.NewResidency(d, base, adapters); err != nil {
		return nil, err
	}
	if o.stages || o.trace != "" {
		b.profiler = compute.NewProfiler(d)
	}
	b.model, err = model.Open(context.Background(), d, config, nil, model.Options{
		Rows: lanes, Lanes: lanes, Context: positions, MemoryFraction: 0.9,
		Adapters: model.Adapters{Table: b.residency.Table(), SitesPerSlot: b.residency.SitesPerSlot(), MaxRank: o.rank, Slots: adapters, Bytes: base.DeviceBytes(largest)},
		Profiler: b.profiler,
	})
	if err != nil {
		return nil, err
	}
	if err := b.model.FillCache(); err != nil {
		return nil, err
	}
	b.pages = b.model.Pages().Take(nil, lanes*model.PagesFor(positions))
	if err := b.residency.Attach(b.model.AdapterMemory(), largest); err != nil {
		return nil, err
	}
	for i := range adapters {
		a := randomAdapter(base, o.rank, uint64(i+1))
		b.adapter = a.Bytes()
		slot, err := b.residency.Place(a, 0)
		if err != nil {
			return nil, err
		}
		b.residency.Pin(slot)
		b.slots = append(b.slots, slot)
	}
	return b, nil
}

func maximum(list []int) int {
	most := list[0]
	for _, n := range list {
		most = max(most, n)
	}
	return most
}

// floor is the bytes that a step must read.
func (b *bench) floor(batch, adapters int) float64 {
	shape := b.model.Shape()
	cache := int64(batch) * int64(b.o.context) * shape.PageBytes() / model.PageTokens
	return float64(b.model.StreamBytes() + cache + int64(adapters)*b.adapter)
}

// time decodes a batch, two steps in flight as the server does, and returns the
// seconds of a step.
func (b *bench) time(batch, adapters int) (float64, error) {
	r := newRunner(b, batch, adapters)
	if err := r.steps(10); err != nil {
		return 0, err
	}
	if b.profiler != nil {
		b.profiler.Reset()
	}
	begin := time.Now()
	if err := r.steps(b.o.steps); err != nil {
		return 0, err
	}
	return time.Since(begin).Seconds() / float64(b.o.steps), r.check()
}

// report prints where the time of the last batch went, if asked.
func (b *bench) report() error {
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
	b.model.Close()
	b.residency.Close()
}
