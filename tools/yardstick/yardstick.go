// Package yardstick measures what a device can do at most, for the benchmarks to hold their times against.
package yardstick

import (
	"fmt"

	"lorikeet/compute"
	"lorikeet/shaders"
)

// CopyBandwidth is what a copy kernel moves, bytes read plus bytes written per second: the best of five copies of 2 GiB, or
// of an eighth of the free memory where that is less.
func CopyBandwidth(d *compute.Device) (float64, error) {
	size := min(int64(2<<30), d.Info().LocalFree/8) &^ 255
	var spans [2]compute.Span
	arena := d.NewArena("copy", compute.Local, size)
	defer arena.Close()
	k := shaders.New(d)
	for i := range spans {
		var err error
		if spans[i], err = arena.Alloc(size); err != nil {
			return 0, fmt.Errorf("yardstick: copy of %d bytes: %w", size, err)
		}
		fill := shaders.RandomFill{Address: spans[i].Address(), Count: size / 4, Type: shaders.F32, Scale: 1, Seed: uint32(i)}
		if _, err := Seconds(d, fill.Dispatch(k)); err != nil {
			return 0, err
		}
	}
	copying := shaders.StreamCopy{Source: spans[0].Address(), Target: spans[1].Address(), Bytes: size}.Dispatch(k)
	best := 0.0
	for range 5 {
		seconds, err := Seconds(d, copying)
		if err != nil {
			return 0, err
		}
		best = max(best, float64(copying.Bytes)/seconds)
	}
	return best, nil
}

// Seconds runs dispatches once, each after the one before it, and returns their time by the device's clock.
func Seconds(d *compute.Device, dispatches ...compute.Dispatch) (float64, error) {
	c, err := NewClock(d, "once", dispatches)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.Seconds()
}

// Clock times a chain of dispatches by the device's clock.
type Clock struct {
	device   *compute.Device
	program  *compute.Program
	profiler *compute.Profiler
}

// NewClock records the chain, with a timestamp at either end only.
func NewClock(d *compute.Device, name string, dispatches []compute.Dispatch) (*Clock, error) {
	c := &Clock{device: d, profiler: compute.NewProfiler(d)}
	var stages []compute.Stage
	for _, x := range dispatches {
		stages = append(stages, compute.Stage{Label: name, Dispatches: []compute.Dispatch{x}})
	}
	var err error
	if c.program, err = d.Record(name, stages, c.profiler); err != nil {
		return nil, fmt.Errorf("yardstick: %w", err)
	}
	return c, nil
}

// Seconds runs the chain and returns how long it took.
func (c *Clock) Seconds() (float64, error) {
	ticket, err := c.device.Submit(c.program)
	if err != nil {
		return 0, fmt.Errorf("yardstick: %w", err)
	}
	if err := c.device.Wait(ticket); err != nil {
		return 0, fmt.Errorf("yardstick: %w", err)
	}
	c.profiler.Reset()
	if err := c.profiler.Collect(c.program); err != nil {
		return 0, fmt.Errorf("yardstick: %w", err)
	}
	return c.profiler.Summary()[0].Total.Seconds(), nil
}

// Close forgets the chain.
func (c *Clock) Close() { c.program.Release() }
