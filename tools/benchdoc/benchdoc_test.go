package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/tools/yardstick"
)

func TestRun(t *testing.T) {
	folder := t.TempDir()
	write := func(name string, results ...yardstick.Result) {
		r := yardstick.Report{Device: "GPU", Driver: name, CopyBandwidth: 1e12, Results: results}
		if name == "cudabench.json" {
			r.PeakFlops = 1e15
		}
		require.NoError(t, r.WriteJSON(filepath.Join(folder, name)))
	}
	result := func(name string, us float64, rows int) yardstick.Result {
		return yardstick.Result{Name: name, Us: us, Lowest: us, Highest: us * 1.1, Bytes: 1e6, Flops: 1e6, Rows: rows}
	}
	write("kernels.json", result("project/o/tokens=1", 2, 0), result("project/o/tokens=8", 4, 0), result("lora/tokens=1", 3, 0), result("embed/tokens=1", 1, 0))
	write("steps.json", result("step/batch=4/context=9/adapters=0", 1000, 4), result("chunk/tokens=8", 3000, 8), result("mixed/batch=4/chunk=8", 2000, 12))
	write("cudabench.json", result("project/o/tokens=1", 1, 0), result("step/batch=4/context=9/adapters=0", 1500, 4))
	document := filepath.Join(folder, "B.md")
	require.NoError(t, os.WriteFile(document, []byte("# Prose\n\n"+begin+"old\n"+end+"\nMore prose.\n"), 0o600))
	for range 2 { // the second run replaces the first
		require.NoError(t, run(folder, document))
	}
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	for _, want := range []string{
		"# Prose\n", "\nMore prose.\n", "| project/o/tokens=1 | 2.0 | 10% | 500 | 0.5 | 50% | 1 | 0.50 |\n", "| lora/tokens=1 | 3.0 | 10% | 333 | 0.3 | 33% |  |  |\n",
		"| step/batch=4/context=9/adapters=0 | 1.000 | 10% | 4000 | 0.001 | 1000.00 | 0.0 | 1.5 | 1.50 |\n",
		"mixed/batch=4/chunk=8 takes 0.50 times as long as step/batch=4/context=9/adapters=0 and chunk/tokens=8 one after the other.",
	} {
		require.Contains(t, string(text), want)
	}
	require.NotContains(t, string(text), "old")
	require.FileExists(t, filepath.Join(folder, "benchmarks", "products.svg"))
	require.FileExists(t, filepath.Join(folder, "benchmarks", "steps.svg"))

	_, err = replace("no markers", "")
	require.ErrorContains(t, err, "measured: begin")
}
