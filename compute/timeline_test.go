package compute_test

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
)

const slowStages, slowGroups = 8, 20000

// slow is a program that takes the device a while: half a millisecond on a fast GPU, some hundred on a CPU. It adds
// slowStages·slowGroups to the counter.
func slow(t testing.TB, d *compute.Device, counter compute.Span) *compute.Program {
	k := d.NewKernel("count", countModule, nil)
	var work []compute.Dispatch
	for range slowStages {
		work = append(work, count(k, counter, slowGroups))
	}
	return record(t, d, stages(work...), nil)
}

func TestTickets(t *testing.T) {
	d := computetest.Device(t)
	counter := allocate(t, d, 4, compute.HostRead)
	require.NoError(t, d.Fill(counter, 0))
	a, b := slow(t, d, counter), slow(t, d, counter)

	done, err := d.Done(0)
	require.NoError(t, err)
	require.True(t, done, "the zero ticket")

	first, err := d.Submit(a)
	require.NoError(t, err)
	second, err := d.Submit(b)
	require.NoError(t, err)
	require.Greater(t, second, first)
	done, err = d.Done(second)
	require.NoError(t, err)
	require.False(t, done)
	require.NoError(t, d.Wait(second))
	for _, ticket := range []compute.Ticket{first, second} {
		done, err = d.Done(ticket)
		require.NoError(t, err)
		require.True(t, done)
	}
	require.EqualValues(t, 2*slowStages*slowGroups, binary.LittleEndian.Uint32(counter.Bytes()))
	require.ErrorContains(t, d.Wait(second+1000), "it was not submitted")
}

func TestSubmitRefusesARunningProgram(t *testing.T) {
	d := computetest.Device(t)
	counter := allocate(t, d, 4, compute.HostRead)
	p, q := slow(t, d, counter), slow(t, d, counter)
	ticket, err := d.Submit(p)
	require.NoError(t, err)
	_, err = d.Submit(q, p)
	require.EqualError(t, err, `compute: submit "`+t.Name()+`": the program is still running`)
	run(t, d, q) // its refused submission left no trace
	_, err = d.Submit(q, q)
	require.Error(t, err)
	require.NoError(t, d.Wait(ticket))
	run(t, d, p, q)
}

// The hot calls allocate nothing.
func TestNoAllocation(t *testing.T) {
	d := computetest.Device(t)
	counter := allocate(t, d, 4, compute.HostRead)
	k := d.NewKernel("count", countModule, nil)
	p, q := record(t, d, stages(count(k, counter, 1)), nil), record(t, d, stages(count(k, counter, 1)), nil)
	n := testing.AllocsPerRun(100, func() {
		ticket, err := d.Submit(p, q)
		if err == nil {
			_, err = d.Done(ticket)
		}
		if err == nil {
			err = d.Wait(ticket)
		}
		if err != nil {
			t.Error(err)
		}
	})
	require.Zero(t, n)
}

// What is released while the device uses it lives until the device is done.
func TestReleaseInFlight(t *testing.T) {
	d := computetest.Device(t)
	counter := allocate(t, d, 4, compute.HostRead)
	require.NoError(t, d.Fill(counter, 0))
	const n = 1 << 16
	for range 5 {
		x, err := d.Allocate(4*n, compute.Local)
		require.NoError(t, err)
		y, err := d.Allocate(4*n, compute.Local)
		require.NoError(t, err)
		k := d.NewKernel("affine", affineModule, []uint32{1})
		p, err := d.Record("in flight", stages(count(d.NewKernel("count", countModule, nil), counter, 50000), affine(k, x.All(), y.All(), 1, n)), nil)
		require.NoError(t, err)
		_, err = d.Submit(p)
		require.NoError(t, err)
		for range 2 { // a second release does nothing
			p.Release()
			x.Release()
			y.Release()
		}
	}
	last := record(t, d, stages(count(d.NewKernel("count", countModule, nil), counter, 1)), nil)
	run(t, d, last)
	require.EqualValues(t, 5*50000+1, binary.LittleEndian.Uint32(counter.Bytes()))
}

// Buffers come and go, and bytes move, beside the goroutine that submits.
func TestOtherGoroutines(t *testing.T) {
	d := computetest.Device(t)
	counter := allocate(t, d, 4, compute.HostRead)
	p := record(t, d, stages(count(d.NewKernel("count", countModule, nil), counter, 100)), nil)
	var others sync.WaitGroup
	for g := range 3 {
		others.Go(func() {
			for i := range 30 {
				b, err := d.Allocate(int64(4+4*i), compute.Usage(g))
				if err == nil {
					err = d.Upload(b.All(), make([]byte, b.Size()))
				}
				if err == nil {
					err = d.Fill(b.All(), uint32(i))
				}
				out := make([]byte, 4+4*i)
				if err == nil {
					err = d.Download(out, b.All())
				}
				if err != nil || binary.LittleEndian.Uint32(out[4*i:]) != uint32(i) {
					t.Error(i, err, out)
					return
				}
				b.Release()
			}
		})
	}
	for range 50 {
		run(t, d, p)
	}
	others.Wait()
}
