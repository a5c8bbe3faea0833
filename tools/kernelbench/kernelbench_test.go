package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/model"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
	"lorikeet/tools/yardstick"
)

// One row of each kind runs, is right, and lands in the report beside its baseline.
func TestTable(t *testing.T) {
	device := computetest.Device(t)
	config, err := checkpoint.OpenConfig("../../testdata/demo")
	require.NoError(t, err)
	shape, err := model.ShapeOf(config, 0)
	require.NoError(t, err)
	b := &bench{device: device, kernels: shaders.New(device)}
	b.pool, err = newPool(device, b.kernels)
	require.NoError(t, err)
	defer b.pool.arena.Close()
	folder := t.TempDir()
	o := options{baseline: filepath.Join(folder, "baseline.json"), json: filepath.Join(folder, "kernels.json")}
	require.NoError(t, os.WriteFile(o.baseline, []byte(`{"peak_flops": 1e12, "results": [{"name": "project/o/tokens=3", "us": 7}]}`), 0o600))
	rows := []row{
		products(&shape)[1].row(3),
		{name: "lora", build: func(t *trial) { t.lora(shape.Hidden, 5, 8, 2) }},
		{name: "expand", build: func(t *trial) { t.expand(shape.Vocab, 5, 8, 2) }},
		{name: "decode", build: func(t *trial) { t.attendDecode(&shape, 20) }},
		{name: "prefill", build: func(t *trial) { t.attendPrefill(&shape, 20) }},
	}
	rows = append(rows, smallRows(&shape, []int{3})...)
	require.NoError(t, b.table(o, yardstick.NewReport(device.Info(), 1e9, 0), rows))

	r, err := yardstick.ReadReport(o.json)
	require.NoError(t, err)
	require.Len(t, r.Results, len(rows))
	require.Equal(t, 1e12, r.PeakFlops)
	for i, x := range r.Results {
		require.Equal(t, rows[i].name, x.Name)
		require.Positive(t, x.Us)
		require.Positive(t, x.Bytes)
	}
	require.Equal(t, 7.0, r.Results[0].Baseline)

	o.run = regexp.MustCompile("^broken$")
	o.baseline = ""
	broken := row{name: "broken", build: func(t *trial) {
		t.project(shaders.Project{In: 64, Out: 64, Tokens: 2, W: shaders.Matrix{Stride: 64, Type: shaders.BF16}}, func(p shaders.Project) compute.Dispatch {
			p.Tokens = 1
			return p.Dispatch(t.Kernels)
		})
	}}
	require.ErrorContains(t, b.table(o, yardstick.NewReport(device.Info(), 1e9, 0), append(rows, broken)), "broken: the result is off")
}

// The ways to run a product of a GPU's style compute the product; a wrong one is named and left out.
func TestTune(t *testing.T) {
	device := computetest.Device(t)
	b := &bench{device: device, kernels: shaders.NewStyle(device, shaders.Groups)}
	var err error
	b.pool, err = newPool(device, b.kernels)
	require.NoError(t, err)
	defer b.pool.arena.Close()
	op := shaders.Project{In: 64, Out: 40, Tokens: 3, W: shaders.Matrix{Stride: 64, Type: shaders.BF16}}
	choices := op.Choices(b.kernels)[:3]
	list, err := b.fastest("o", op, choices)
	require.NoError(t, err)
	require.Len(t, list, 3)

	broken := shaders.Choice{Source: "broken", Launch: func(p shaders.Project) compute.Dispatch {
		p.Tokens = 1
		return p.Dispatch(b.kernels)
	}}
	list, err = b.fastest("o", op, append(choices[:1], broken))
	require.ErrorContains(t, err, "o broken: the result is off")
	require.Len(t, list, 1)
}
