package compute_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
)

func TestProfiler(t *testing.T) {
	d := computetest.Device(t)
	const n = 1 << 16
	x, y, counter := allocate(t, d, 4*n, compute.Local), allocate(t, d, 4*n, compute.Local), allocate(t, d, 4, compute.HostRead)
	k, c := d.NewKernel("affine", affineModule, nil), d.NewKernel("count", countModule, nil)
	plan := []compute.Stage{
		{Label: "small", Dispatches: []compute.Dispatch{affine(k, x, y, 1, n)}},
		{Label: "large", Dispatches: []compute.Dispatch{count(c, counter, 60000)}},
		{Label: "small", Dispatches: []compute.Dispatch{affine(k, y, x, 1, n), count(c, counter, 1)}},
	}
	prof := compute.NewProfiler(d)
	p := record(t, d, plan, prof)
	require.ErrorContains(t, prof.Collect(p), "no run of it is done")
	require.ErrorContains(t, prof.Collect(record(t, d, plan, nil)), "it was recorded without a profiler")
	var elapsed time.Duration
	for range 3 {
		start := time.Now()
		run(t, d, p)
		elapsed += time.Since(start)
		require.NoError(t, prof.Collect(p))
	}

	rows := prof.Summary()
	require.Len(t, rows, 2)
	require.Equal(t, "large", rows[0].Label)
	require.Equal(t, 3, rows[0].Count)
	require.Equal(t, 6, rows[1].Count)
	require.EqualValues(t, 6*8*n, rows[1].Bytes)
	require.EqualValues(t, 6*2*n, rows[1].Flops)
	for _, r := range rows {
		require.Positive(t, r.Total)
		require.Equal(t, r.Total/time.Duration(r.Count), r.Mean)
	}
	require.LessOrEqual(t, rows[0].Total+rows[1].Total, elapsed)

	var out bytes.Buffer
	require.NoError(t, prof.WriteChromeTrace(&out))
	var trace struct {
		TraceEvents []struct {
			Name, Cat, Ph string
			Ts, Dur       float64
			Args          map[string]int64
		}
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &trace))
	require.Len(t, trace.TraceEvents, 9)
	end := 0.0
	for i, e := range trace.TraceEvents {
		require.Equal(t, plan[i%3].Label, e.Name)
		require.Equal(t, t.Name(), e.Cat)
		require.Equal(t, "X", e.Ph)
		require.GreaterOrEqual(t, e.Ts, end-1e-3, "stages follow each other")
		end = e.Ts + e.Dur
	}
	require.EqualValues(t, 8*n, trace.TraceEvents[0].Args["bytes"])
}

// Neighbouring stages of one label are timed as one, and counted as many.
func TestProfilerTimesNeighboursTogether(t *testing.T) {
	d := computetest.Device(t)
	counter := allocate(t, d, 4, compute.HostRead)
	k := d.NewKernel("count", countModule, nil)
	var plan []compute.Stage
	for _, label := range []string{"a", "a", "a", "b", "a", "a"} {
		plan = append(plan, compute.Stage{Label: label, Dispatches: []compute.Dispatch{count(k, counter, 1)}})
	}
	prof := compute.NewProfiler(d)
	p := record(t, d, plan, prof)
	run(t, d, p)
	require.NoError(t, prof.Collect(p))
	counts := map[string]int{}
	for _, row := range prof.Summary() {
		counts[row.Label] = row.Count
	}
	require.Equal(t, map[string]int{"a": 5, "b": 1}, counts)
	var out bytes.Buffer
	require.NoError(t, prof.WriteChromeTrace(&out))
	require.Equal(t, 3, bytes.Count(out.Bytes(), []byte(`"ph":"X"`)))
}

// A profiler of programs has a run for each, and knows how long the device waited between them.
func TestProgramProfiler(t *testing.T) {
	d := computetest.Device(t)
	counter := allocate(t, d, 4, compute.HostRead)
	k := d.NewKernel("count", countModule, nil)
	var plan []compute.Stage
	for _, label := range []string{"a", "b"} {
		plan = append(plan, compute.Stage{Label: label, Dispatches: []compute.Dispatch{count(k, counter, 20000)}})
	}
	prof := compute.NewProgramProfiler(d)
	p := record(t, d, plan, prof)
	const pause = 20 * time.Millisecond
	start := time.Now()
	for i := range 3 {
		if i > 0 {
			time.Sleep(pause)
		}
		run(t, d, p)
		require.NoError(t, prof.Collect(p))
	}
	elapsed := time.Since(start)

	rows := prof.Summary()
	require.Len(t, rows, 1)
	require.Equal(t, t.Name(), rows[0].Label)
	require.Equal(t, 3, rows[0].Count)
	idle := prof.Idle()
	require.Len(t, idle, 2)
	for _, wait := range idle {
		require.GreaterOrEqual(t, wait, pause)
	}
	require.LessOrEqual(t, rows[0].Total+idle[0]+idle[1], elapsed)
}

func TestEmptyTrace(t *testing.T) {
	prof := compute.NewProfiler(computetest.Device(t))
	require.Empty(t, prof.Summary())
	var out bytes.Buffer
	require.NoError(t, prof.WriteChromeTrace(&out))
	require.JSONEq(t, `{"traceEvents": [], "displayTimeUnit": "ns"}`, out.String())
}
