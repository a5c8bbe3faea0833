package parity

import (
	"cmp"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/shaders"
)

var (
	update = flag.Bool("update", false, "write what was measured to docs/PARITY.md")
	folder = flag.String("fixtures", "../../testdata/parity", "folder that generate.py wrote")
)

// TestParity runs every case on every variant of the kernels that the device can run.
func TestParity(t *testing.T) {
	device := computetest.Device(t)
	table, err := readTable()
	require.NoError(t, err)
	cases, err := table.operatorCases()
	require.NoError(t, err)
	fixtures := folderFixtures(*folder, table)
	ran := false
	for _, variant := range device.Info().Variants() {
		if only := computetest.Kernels(); only != "" && only != variant.Name {
			continue
		}
		styles := shaders.Styles(device.Info(), variant.Name)
		if len(styles) == 0 {
			t.Logf("%s: %d cases skipped: %s", variant.Name, len(cases)+table.modelCases(), cmp.Or(variant.Why, "no such kernels are written"))
		}
		for _, style := range styles {
			ran = true
			t.Run(variant.Name+" "+style.String(), func(t *testing.T) {
				testVariant(t, device, style, newReport(device.Info(), variant.Name, style, fixtures), table, cases, fixtures)
			})
		}
	}
	require.True(t, ran, "the device runs no kernels of the variant %q", computetest.Kernels())
	if !t.Failed() {
		text, err := os.ReadFile(document)
		require.NoError(t, err, "run go test ./tools/parity -update")
		require.NoError(t, checkDocument(string(text), fixtures, table, cases))
	}
}

// testVariant runs the operators in a style, and the models if it is the one that models take.
func testVariant(t *testing.T, d *compute.Device, style shaders.Style, r *report, table *table, list []opCase, f *fixtures) {
	kernels, own := shaders.NewStyle(d, style), shaders.New(d).Style()
	if only := computetest.Kernels(); only != "" {
		own = shaders.Styles(d.Info(), only)[0]
	}
	if d.Info().Type == compute.CPU && style != own && !*update {
		list = quick(t, list)
	}
	warm(kernels, list, f)
	if style == own {
		t.Run("models", func(t *testing.T) { testModels(t, d, table, f, r) })
	}
	t.Run("operators", func(t *testing.T) { testOperators(t, d, kernels, list, f, r) })
	if *update && !t.Failed() {
		require.NoError(t, r.write())
	}
}

// quick leaves out what takes a CPU a minute to compile in a style that is not its own. With -update it runs as well.
func quick(t *testing.T, list []opCase) []opCase {
	var kept []opCase
	for _, c := range list {
		if c.operator != "decode" || c.kind == shaders.BF16 {
			kept = append(kept, c)
		}
	}
	t.Logf("%d cases skipped: their kernels take long to compile here; -update runs them", len(list)-len(kept))
	return kept
}

func testOperators(t *testing.T, d *compute.Device, kernels *shaders.Kernels, list []opCase, f *fixtures, r *report) {
	for i := range list {
		c := &list[i]
		t.Run(c.name, func(t *testing.T) {
			fixture, err := f.fixture(c)
			require.NoError(t, err)
			measured, err := measure(d, kernels, c, fixture)
			require.NoError(t, err)
			limit := c.limits.of(r.variant)
			for _, label := range c.labels() {
				t.Logf("%s: %.2g, limit %g", label, measured[label], limit[label])
				require.LessOrEqual(t, measured[label], limit[label], label)
			}
			own, err := fixture.ownError()
			require.NoError(t, err)
			r.operator(c, measured, own)
		})
	}
}
