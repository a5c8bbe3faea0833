package cases

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/shaders"
)

func TestKernelsMatchTheirTwins(t *testing.T) {
	device := computetest.Device(t)
	kernels := map[shaders.Style]*shaders.Kernels{}
	for _, variant := range device.Info().Variants() {
		if only := computetest.Kernels(); only != "" && only != variant.Name {
			continue
		}
		for _, style := range shaders.Styles(device.Info(), variant.Name) {
			kernels[style] = shaders.NewStyle(device, style)
		}
	}
	require.NotEmpty(t, kernels, "the device runs no kernels of the variant %q", computetest.Kernels())
	for _, c := range All() {
		for _, style := range c.Styles() {
			if kernels[style] == nil || c.Flows && !device.Info().InOrder || c.Ends != shaders.F32 && !kernels[style].Panels(c.Ends) {
				continue // the device cannot
			}
			t.Run(fmt.Sprintf("%s/%v", c.Name, style), func(t *testing.T) {
				seed := rand.Uint64()
				relative, limit := measure(t, device, kernels[style], c, seed)
				t.Logf("relative error %.2g, limit %g", relative, limit)
				require.LessOrEqual(t, relative, limit, "seed %d", seed)
				// The error is a sum over every bit of the output, so an equal one means equal bits.
				again, _ := measure(t, device, kernels[style], c, seed)
				require.Equal(t, relative, again, "seed %d: two runs differ", seed)
			})
		}
	}
}

// measure builds the case from the seed, runs it and returns its relative error and the limit of that.
func measure(t *testing.T, device *compute.Device, kernels *shaders.Kernels, c Case, seed uint64) (relative, limit float64) {
	t.Helper()
	run, setup, err := c.Prepare(device, kernels, seed)
	require.NoError(t, err)
	defer setup.Close()
	execute(t, device, c.Name, run)
	relative, err = run.Check()
	require.NoError(t, err)
	return relative, run.Limit
}

// execute runs the dispatches once, a stage each unless they run together.
func execute(t *testing.T, device *compute.Device, name string, run Run) {
	t.Helper()
	var stages []compute.Stage
	apart := func(dispatches []compute.Dispatch) {
		for _, dispatch := range dispatches {
			stages = append(stages, compute.Stage{Label: dispatch.Label, Dispatches: []compute.Dispatch{dispatch}})
		}
	}
	apart(run.Before)
	if run.Together {
		stages = append(stages, compute.Stage{Label: name, Dispatches: run.Dispatches})
	} else {
		apart(run.Dispatches)
	}
	program, err := device.Record(name, stages, nil)
	require.NoError(t, err)
	defer program.Release()
	ticket, err := device.Submit(program)
	require.NoError(t, err)
	require.NoError(t, device.Wait(ticket))
}
