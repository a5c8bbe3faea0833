// Command kernelbench times every kernel at the shapes of a model, each checked before it is timed, against what the
// device could do at most and against the same work by CUDA's libraries.
//
//	kernelbench -baseline cudabench.json -json kernels.json -benchstat kernels.txt
//	kernelbench -run '^project/qkv' -tokens 1,8,64
//	kernelbench -tune -run 'project/(o|down)/' -tokens 8,16
//
// A time is the median of samples by the device's clock, a barrier included, over weights that are too many for caches.
// The roof is the time that the bytes take at the bandwidth of a copy, or the products at the peak, whichever is longer.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lorikeet/compute"
	"lorikeet/model"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
	"lorikeet/tools/yardstick"
)

type options struct {
	model, device, kernels    string
	baseline, json, benchstat string
	tokens, contexts          []int
	run                       *regexp.Regexp
	peak                      float64
	tune                      bool
}

func main() {
	o := options{tokens: []int{1, 2, 4, 8, 16, 32, 64, 128, 512, 2048, 8192}, contexts: []int{512, 4096, 8192, 32768}}
	flag.StringVar(&o.model, "model", "testdata/shapes/llama-3.1-8b", "folder with a config.json")
	flag.StringVar(&o.device, "device", "", "device index or part of its name")
	flag.StringVar(&o.kernels, "kernels", "auto", "kernel variant: fma, coop or auto")
	flag.StringVar(&o.baseline, "baseline", "", "JSON of tools/cudabench, from the same machine")
	flag.StringVar(&o.json, "json", "", "write the results here")
	flag.StringVar(&o.benchstat, "benchstat", "", "write the samples here, for benchstat")
	flag.Func("run", "rows to time, a regular expression", func(text string) (err error) {
		o.run, err = regexp.Compile(text)
		return err
	})
	flag.Func("tokens", "rows of products, a list (default 1,2,4,...,8192)", list(&o.tokens))
	flag.Func("contexts", "tokens that attention sees, a list (default 512,4096,8192,32768)", list(&o.contexts))
	flag.Float64Var(&o.peak, "peak", 0, "TFLOP/s of products in bf16 (default: the baseline's)")
	flag.BoolVar(&o.tune, "tune", false, "try many ways to cut each product into workgroups, and print the best ones")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "kernelbench:", err)
		os.Exit(1)
	}
}

// list parses numbers into a list.
func list(into *[]int) func(string) error {
	return func(text string) error {
		*into = nil
		for _, word := range strings.Split(text, ",") {
			n, err := strconv.Atoi(word)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is no list of positive numbers", text)
			}
			*into = append(*into, n)
		}
		return nil
	}
}

// bench is the device and what all rows share.
type bench struct {
	device  *compute.Device
	kernels *shaders.Kernels
	pool    *pool
}

func run(o options) error {
	config, err := checkpoint.OpenConfig(o.model)
	if err != nil {
		return err
	}
	shape, err := model.ShapeOf(config, 0)
	if err != nil {
		return err
	}
	device, err := compute.Open(compute.Options{Device: o.device})
	if err != nil {
		return err
	}
	defer device.Close()
	b := &bench{device: device, kernels: shaders.New(device)}
	if o.kernels != "auto" {
		styles := shaders.Styles(device.Info(), o.kernels)
		if len(styles) == 0 {
			return fmt.Errorf("the device has no kernels of the variant %q", o.kernels)
		}
		b.kernels = shaders.NewStyle(device, styles[0])
	}
	bandwidth, err := yardstick.CopyBandwidth(device)
	if err != nil {
		return err
	}
	if b.pool, err = newPool(device, b.kernels); err != nil {
		return err
	}
	defer b.pool.arena.Close()
	report := yardstick.NewReport(device.Info(), bandwidth, 1e12*o.peak)
	if o.tune {
		return b.tune(o, report, products(&shape))
	}
	rows := slices.Concat(projectRows(&shape, o.tokens), loraRows(&shape), expandRows(&shape), attendRows(&shape, o.contexts), smallRows(&shape, []int{1, 32, 1024}))
	return b.table(o, report, rows)
}

// table times the rows that were asked for and reports them. A row whose result is wrong is an error, after the others ran.
func (b *bench) table(o options, r *yardstick.Report, rows []row) error {
	rows = slices.DeleteFunc(rows, func(x row) bool { return o.run != nil && !o.run.MatchString(x.name) })
	for _, x := range rows {
		if x.warm != nil {
			x.warm(b.kernels)
		}
	}
	var wrong []error
	for _, x := range rows {
		samples, t, err := b.run(x)
		switch {
		case errors.Is(err, errNoRoom) || errors.Is(err, compute.ErrOutOfMemory):
			fmt.Fprintf(os.Stderr, "kernelbench: %s left out: %v\n", x.name, err)
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s: %w", x.name, err))
		default:
			r.Results = append(r.Results, yardstick.NewResult(x.name, samples, t.bytes, t.flops))
		}
	}
	if o.baseline != "" {
		baseline, err := yardstick.ReadReport(o.baseline)
		if err != nil {
			return err
		}
		r.Compare(baseline)
	}
	if err := r.Print(os.Stdout); err != nil {
		return err
	}
	if o.json != "" {
		wrong = append(wrong, r.WriteJSON(o.json))
	}
	if o.benchstat != "" {
		wrong = append(wrong, r.WriteBenchstat(o.benchstat))
	}
	return errors.Join(wrong...)
}
