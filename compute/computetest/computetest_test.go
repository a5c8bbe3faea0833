package computetest_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
)

// recorder is a test whose end and whose failures the test sees.
type recorder struct {
	testing.TB
	ends   []func()
	errors []any
}

func (r *recorder) Cleanup(f func())  { r.ends = append(r.ends, f) }
func (r *recorder) Error(args ...any) { r.errors = append(r.errors, args...) }

func TestDeviceFailsWhatTheLayerFinds(t *testing.T) {
	r := &recorder{TB: t}
	d := computetest.Device(r)
	module, err := os.ReadFile("../testdata/count.spv")
	require.NoError(t, err)
	require.Same(t, d, computetest.Device(t), "one device for all tests of a process")
	// Recording a kernel without the push constants it reads breaks a rule. It is never run.
	_, err = d.Record("broken", []compute.Stage{{Dispatches: []compute.Dispatch{{Kernel: d.NewKernel("count", module, nil), Groups: [3]uint32{1, 1, 1}}}}}, nil)
	require.NoError(t, err)
	require.Empty(t, r.errors)
	for _, end := range r.ends {
		end()
	}
	require.Equal(t, compute.ValidationInstalled() && os.Getenv("LORIKEET_VALIDATION") != "off", len(r.errors) > 0)
	t.Log(r.errors...)
}
