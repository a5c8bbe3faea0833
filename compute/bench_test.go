package compute_test

import (
	"encoding/binary"
	"testing"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
)

// chain is a program of dependent dispatches of one workgroup each.
func chain(b *testing.B, d *compute.Device, length int, indirect bool, p *compute.Profiler) *compute.Program {
	counter, counts := allocate(b, d, 4, compute.Local), allocate(b, d, 12, compute.HostWrite)
	for i := range 3 {
		binary.LittleEndian.PutUint32(counts.Bytes()[4*i:], 1)
	}
	k := d.NewKernel("count", countModule, nil)
	var all []compute.Dispatch
	for range length {
		x := count(k, counter, 1)
		if indirect {
			x.Indirect = &compute.Indirect{Buffer: counts.Buffer}
		}
		all = append(all, x)
	}
	return record(b, d, stages(all...), p)
}

// BenchmarkRoundTrip is the time from submitting almost nothing to knowing that it is done.
func BenchmarkRoundTrip(b *testing.B) {
	d := computetest.Device(b)
	p := chain(b, d, 1, false, nil)
	run(b, d, p)
	b.ReportAllocs()
	for b.Loop() {
		run(b, d, p)
	}
}

// BenchmarkStage is the time of one dependent dispatch out of 1000, direct, indirect, and timed by the profiler.
func BenchmarkStage(b *testing.B) {
	for _, c := range []struct {
		name            string
		indirect, timed bool
	}{{"direct", false, false}, {"indirect", true, false}, {"timed", false, true}} {
		b.Run(c.name, func(b *testing.B) {
			d := computetest.Device(b)
			var prof *compute.Profiler
			if c.timed {
				prof = compute.NewProfiler(d)
			}
			const length = 1000
			p := chain(b, d, length, c.indirect, prof)
			run(b, d, p)
			for b.Loop() {
				run(b, d, p)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/length, "ns/stage")
		})
	}
}

// BenchmarkRecord is the time to record a program of 300 dispatches.
func BenchmarkRecord(b *testing.B) {
	d := computetest.Device(b)
	counter := allocate(b, d, 4, compute.Local)
	k := d.NewKernel("count", countModule, nil)
	var all []compute.Dispatch
	for range 300 {
		all = append(all, count(k, counter, 1))
	}
	plan := stages(all...)
	for b.Loop() {
		p, err := d.Record("bench", plan, nil)
		if err != nil {
			b.Fatal(err)
		}
		p.Release()
	}
}

// BenchmarkTransfer moves 64 MiB between the host and device memory.
func BenchmarkTransfer(b *testing.B) {
	d := computetest.Device(b)
	const size = 64 << 20
	host, device := make([]byte, size), allocate(b, d, size, compute.Local)
	b.Run("upload", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if err := d.Upload(device, host); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("download", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if err := d.Download(host, device); err != nil {
				b.Fatal(err)
			}
		}
	})
}
