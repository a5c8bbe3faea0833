// Command vgpubench times small kernels through github.com/goki/vgpu, the compute library that Go programs had before
// Lorikeet, beside those that tools/kernelbench times. Each is checked on the host before it is timed.
//
//	vgpubench -mib 256 -json vgpu.json
//
// VK_COMPUTE_DEVICE_SELECT, a part of the device's name, chooses among several devices.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
)

// vgpu wants the thread that the program started on.
func init() { runtime.LockOSThread() }

func main() {
	mib := flag.Int("mib", 256, "MiB of the source and of the target; more than the caches hold")
	jsonName := flag.String("json", "", "write the results here, as kernelbench does")
	flag.Parse()
	// The bindings free by finalizers what they passed to C, at times while the driver still reads it. Without collections
	// they cannot; what a run leaves behind is little.
	debug.SetGCPercent(-1)
	if err := run(*mib, *jsonName); err != nil {
		fmt.Fprintln(os.Stderr, "vgpubench:", err)
		os.Exit(1)
	}
}

// work is a row of the table.
type work struct {
	name         string
	shader       string
	groups       int
	bytes, flops int64                                   // of one dispatch
	want         func(*gpu) func(target []float32) error // checks what one dispatch left, by the operands before it
}

// The most workgroups that every device takes, and how many elements of fp32 a workgroup of the copies takes at once.
const (
	maxGroups     = 65535
	groupElements = 4 * 256
)

func run(mib int, jsonName string) error {
	g, err := open(mib)
	if err != nil {
		return err
	}
	defer g.close()
	size := int64(mib) << 20
	elements := mib << 18
	grid, rows := min(elements/groupElements, maxGroups), elements/columns
	copying := work{name: "copy", shader: "copy", groups: grid, bytes: 2 * size, want: wantCopy}
	list := []work{
		copying,
		{name: "axpy", shader: "axpy", groups: grid, bytes: 3 * size, flops: 2 * int64(elements), want: wantAxpy},
		{
			name: fmt.Sprintf("matvec/%dx%d", rows, columns), shader: "matvec", groups: min(rows, maxGroups),
			bytes: size + 4*columns + 4*int64(rows), flops: 2 * int64(elements), want: wantProduct,
		},
	}
	r := &report{Device: g.name(), Driver: g.driver()}
	launches, err := g.launches()
	if err != nil {
		return err
	}
	r.Results = append(r.Results, launches...)
	for _, w := range list {
		g.fill()
		check := w.want(g)
		if err := check(g.once(w)); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		r.Results = append(r.Results, newResult(w.name, g.time(w), w.bytes, w.flops))
	}
	for _, x := range r.Results {
		if x.Name == copying.name {
			r.CopyBandwidth = float64(x.Bytes) / x.Lowest * 1e6
		}
	}
	if err := r.print(os.Stdout); err != nil {
		return err
	}
	if jsonName == "" {
		return nil
	}
	return r.writeJSON(jsonName)
}

// wantCopy expects the source.
func wantCopy(g *gpu) func([]float32) error {
	source := g.source.Floats32()
	return func(target []float32) error {
		return equal(target, func(i int) float32 { return source[i] })
	}
}

// wantAxpy expects what was there and a quarter of the source.
func wantAxpy(g *gpu) func([]float32) error {
	source, before := g.source.Floats32(), append([]float32(nil), g.target.Floats32()...)
	return func(target []float32) error {
		return equal(target, func(i int) float32 { return before[i] + 0.25*source[i] })
	}
}

func equal(got []float32, want func(i int) float32) error {
	for i, v := range got {
		if w := want(i); v != w {
			return fmt.Errorf("element %d is %g, not %g", i, v, w)
		}
	}
	return nil
}

// wantProduct expects the product of each row, to within what rounding of 4096 terms by halves can lose.
func wantProduct(g *gpu) func([]float32) error {
	const limit = 1e-5 // of the sum of magnitudes; about thirty roundings of 2^-24 follow each other
	weights, x := g.source.Floats32(), g.vector.Floats32()
	return func(target []float32) error {
		for row := range len(weights) / columns {
			var sum, magnitude float64
			for i, w := range weights[row*columns : (row+1)*columns] {
				term := float64(w) * float64(x[i])
				sum, magnitude = sum+term, magnitude+math.Abs(term)
			}
			if off := math.Abs(float64(target[row]) - sum); !(off <= limit*magnitude) {
				return fmt.Errorf("row %d is %g, not %g", row, target[row], sum)
			}
		}
		return nil
	}
}
