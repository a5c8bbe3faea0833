// Command stepbench times whole steps of a model's shape with random weights, keys, values and adapters, against the time
// that the bytes they must read take to stream, and against PyTorch's steps.
//
//	stepbench -batch 1,8,32 -adapters 0,1,32 -rank 16 -context 512
//	stepbench -zipf 64 -mixed 64 -prefill 8 -json steps.json -baseline cudabench.json
//
// The yardstick is a copy kernel measured in the same run: the floor of a decode step is (weights + keys and values +
// adapters) over its bandwidth.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"lorikeet/compute"
	"lorikeet/tools/yardstick"
)

type options struct {
	model, device, kernels             string
	trace, json, baseline              string
	batches, adapters, ranks, contexts []int
	drawn                              []int
	steps, zipf, mixed, prefill, chunk int
	stages, idle, statistics           bool
}

func main() {
	o := options{batches: []int{1, 8, 32}, adapters: []int{0, 1}, ranks: []int{16}, contexts: []int{512}}
	flag.StringVar(&o.model, "model", "testdata/shapes/llama-3.1-8b", "folder with a config.json")
	flag.StringVar(&o.device, "device", "", "device index or part of its name")
	flag.StringVar(&o.kernels, "kernels", "auto", "kernel variant: fma, coop or auto")
	flag.Func("batch", "decoding sequences, a list (default 1,8,32)", numbers(&o.batches))
	flag.Func("adapters", "distinct adapters in the batch, a list; more than the batch are left out (default 0,1)", numbers(&o.adapters))
	flag.Func("rank", "ranks of all adapters, on all seven projections, a list (default 16)", numbers(&o.ranks))
	flag.Func("context", "tokens that a decoding sequence sees, a list (default 512)", numbers(&o.contexts))
	flag.Func("drawn", "also decode each batch over adapters drawn from so many, popular by Zipf 1.5, a list", numbers(&o.drawn))
	flag.IntVar(&o.steps, "steps", 50, "steps timed")
	flag.IntVar(&o.zipf, "zipf", 0, "also decode a batch of this size over eight adapters of ranks 8 to 64, popular by Zipf 1.5")
	flag.IntVar(&o.mixed, "mixed", 0, "also run this many decodes beside a prompt's chunk, with each number of adapters, and each alone")
	flag.IntVar(&o.chunk, "chunk", 1024, "rows of that chunk, and tokens of each prompt of -prefill")
	flag.IntVar(&o.prefill, "prefill", 0, "also run this many prompts in one step, without adapters and with one each")
	flag.BoolVar(&o.stages, "stages", false, "print the time of each stage, from GPU timestamps, which slow the steps down")
	flag.BoolVar(&o.idle, "idle", false, "print how long the device waits in a step, for its layers and for its head or tail; not with -stages or -trace")
	flag.BoolVar(&o.statistics, "statistics", false, "print what the driver says of each kernel: registers, code and memory, in its own words")
	flag.StringVar(&o.trace, "trace", "", "write a Chrome trace of the profiled steps here")
	flag.StringVar(&o.json, "json", "", "write the results here")
	flag.StringVar(&o.baseline, "baseline", "", "JSON of tools/cudabench, from the same machine")
	flag.Parse()
	if slices.Contains(o.drawn, 0) {
		fmt.Fprintln(os.Stderr, "stepbench: -drawn 0: there is nothing to draw from")
		os.Exit(2)
	}
	if o.idle && (o.stages || o.trace != "") {
		fmt.Fprintln(os.Stderr, "stepbench: -idle needs steps that -stages and -trace do not slow down")
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "stepbench:", err)
		os.Exit(1)
	}
}

// numbers parses a list.
func numbers(into *[]int) func(string) error {
	return func(text string) error {
		*into = nil
		for _, word := range strings.Split(text, ",") {
			n, err := strconv.Atoi(word)
			if err != nil || n < 0 {
				return fmt.Errorf("%q is no list of numbers", text)
			}
			*into = append(*into, n)
		}
		return nil
	}
}

func run(o options) error {
	device, err := compute.Open(compute.Options{Device: o.device, Statistics: o.statistics})
	if err != nil {
		return err
	}
	defer device.Close()
	bandwidth, err := yardstick.CopyBandwidth(device)
	if err != nil {
		return err
	}
	report := yardstick.NewReport(device.Info(), bandwidth, 0)
	fmt.Printf("%s, %s; copy bandwidth %.2f TB/s\n", report.Device, report.Driver, bandwidth/1e12)
	begin := time.Now()
	list := o.works()
	b, err := newBench(device, o, list)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Printf("model of %.2f GB ready after %.2f s\n", float64(b.model.StreamBytes())/1e9, time.Since(begin).Seconds())
	for _, w := range list {
		result, err := b.measure(w)
		if errors.Is(err, errNoRoom) {
			fmt.Fprintf(os.Stderr, "stepbench: %s left out: %v\n", w.name, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		report.Results = append(report.Results, result)
	}
	if o.baseline != "" {
		baseline, err := yardstick.ReadReport(o.baseline)
		if err != nil {
			return err
		}
		report.Compare(baseline)
	}
	if err := printSteps(report); err != nil {
		return err
	}
	if o.json != "" {
		if err := report.WriteJSON(o.json); err != nil {
			return err
		}
	}
	if o.statistics {
		if err := writeStatistics(os.Stdout, device.KernelStatistics()); err != nil {
			return err
		}
	}
	return b.report()
}

// printSteps writes the table. The floor is that of bytes alone; of prompts' chunks, products stand above it.
func printSteps(r *yardstick.Report) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "step\tms\tspread\ttokens/s\tfloor ms\tratio\thost µs\tbaseline ms\tbaseline / ours\t\n")
	for i := range r.Results {
		x := &r.Results[i]
		baseline, ratio := "", ""
		if x.Baseline > 0 {
			baseline, ratio = fmt.Sprintf("%.3f", x.Baseline/1e3), fmt.Sprintf("%.2f", x.Baseline/x.Us)
		}
		floor := float64(x.Bytes) / r.CopyBandwidth * 1e6
		fmt.Fprintf(table, "%s\t%.3f\t%.0f%%\t%.0f\t%.3f\t%.2f\t%.1f\t%s\t%s\t\n", x.Name, x.Us/1e3, 100*(x.Highest-x.Lowest)/x.Us,
			1e6*float64(x.Rows)/x.Us, floor/1e3, x.Us/floor, x.Host, baseline, ratio)
	}
	return table.Flush()
}
