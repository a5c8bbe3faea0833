package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute/computetest"
	"lorikeet/shaders"
)

// TestRowByRow has decode programs run single rows and short runs, as far as their rows fit, unless attention takes all rows one by one.
func TestRowByRow(t *testing.T) {
	device := computetest.Device(t)
	groups := &Llama{kernels: shaders.NewStyle(device, shaders.Groups), limits: Limits{Lanes: 40}}
	lanes := &Llama{kernels: shaders.NewStyle(device, shaders.Lanes), limits: Limits{Lanes: 40}}
	for _, c := range []struct {
		name          string
		runs          []Run
		groups, lanes bool
	}{
		{"single rows", []Run{{Rows: 1, Start: 9000}, {Rows: 1}}, true, true},
		{"a short prompt beside them", []Run{{Rows: 1, Start: 9000}, {Rows: 16}}, true, false},
		{"a row more", []Run{{Rows: 1}, {Rows: 17}}, false, false},
		{"the end of a prompt", []Run{{Rows: 4, Start: shaders.DecodeChunk - 4}}, true, false},
		{"of one that is longer", []Run{{Rows: 4, Start: shaders.DecodeChunk - 3}}, false, false},
		{"as many rows as lanes", []Run{{Rows: 16}, {Rows: 16}, {Rows: 8}}, true, false},
		{"more rows than lanes", []Run{{Rows: 16}, {Rows: 16}, {Rows: 9}}, false, false},
	} {
		require.Equal(t, c.groups, groups.rowByRow(&Batch{Runs: c.runs}), c.name)
		require.Equal(t, c.lanes, lanes.rowByRow(&Batch{Runs: c.runs}), c.name)
	}
}
