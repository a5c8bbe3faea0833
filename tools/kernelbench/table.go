package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"lorikeet/compute"
)

// report is what one run measured; the same form as cudabench's.
type report struct {
	Device        string   `json:"device"`
	Driver        string   `json:"driver"`
	CopyBandwidth float64  `json:"copy_bandwidth"` // bytes read plus written per second
	PeakFlops     float64  `json:"peak_flops"`     // of products in bf16; 0: not known
	Results       []result `json:"results"`
}

// result is a row of the table. Times are microseconds.
type result struct {
	Name     string    `json:"name"`
	Us       float64   `json:"us"` // the median
	Lowest   float64   `json:"lowest_us"`
	Highest  float64   `json:"highest_us"`
	Bytes    int64     `json:"bytes"` // that have to move at least
	Flops    int64     `json:"flops"`
	Baseline float64   `json:"baseline_us,omitempty"`
	Samples  []float64 `json:"-"`
}

func newResult(name string, seconds []float64, bytes, flops int64) result {
	list := slices.Clone(seconds)
	for i := range list {
		list[i] *= 1e6
	}
	slices.Sort(list)
	return result{
		Name: name, Us: list[len(list)/2], Lowest: list[0], Highest: list[len(list)-1], Bytes: bytes, Flops: flops, Samples: list,
	}
}

// roof is the least time in microseconds that the device's bandwidth and arithmetic allow.
func (r *report) roof(x *result) float64 {
	least := float64(x.Bytes) / r.CopyBandwidth
	if r.PeakFlops > 0 {
		least = max(least, float64(x.Flops)/r.PeakFlops)
	}
	return 1e6 * least
}

// readReport reads a baseline.
func readReport(name string) (*report, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// compare enters a baseline's times.
func (r *report) compare(baseline *report) {
	times := map[string]float64{}
	for _, x := range baseline.Results {
		times[x.Name] = x.Us
	}
	for i := range r.Results {
		r.Results[i].Baseline = times[r.Results[i].Name]
	}
}

// columns of the table: median, how far the samples spread around it, and what the time means.
const columns = "kernel\tµs\tspread\tGB/s\tTFLOP/s\tof roof\tbaseline µs\tbaseline / ours\t\n"

func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s; copy %.2f TB/s", r.Device, r.Driver, r.CopyBandwidth/1e12)
	if r.PeakFlops > 0 {
		fmt.Fprintf(w, ", products up to %.0f TFLOP/s", r.PeakFlops/1e12)
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, columns)
	for i := range r.Results {
		x := &r.Results[i]
		baseline, ratio := "", ""
		if x.Baseline > 0 {
			baseline, ratio = fmt.Sprintf("%.1f", x.Baseline), fmt.Sprintf("%.2f", x.Baseline/x.Us)
		}
		fmt.Fprintf(table, "%s\t%.1f\t%.0f%%\t%.0f\t%.1f\t%.0f%%\t%s\t%s\t\n", x.Name, x.Us, 100*(x.Highest-x.Lowest)/x.Us,
			float64(x.Bytes)/x.Us/1e3, float64(x.Flops)/x.Us/1e6, 100*r.roof(x)/x.Us, baseline, ratio)
	}
	return table.Flush()
}

func (r *report) writeJSON(name string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

// writeBenchstat writes the samples in the form of go test -bench, which golang.org/x/perf/cmd/benchstat compares.
func (r *report) writeBenchstat(name string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: linux\npkg: lorikeet/tools/kernelbench\ncpu: %s, %s\n", r.Device, r.Driver)
	for _, x := range r.Results {
		first, rest := strings.ToUpper(x.Name[:1]), x.Name[1:]
		for _, us := range x.Samples {
			fmt.Fprintf(&b, "Benchmark%s%s\t1\t%.1f ns/op\t%.1f MB/s\n", first, rest, 1e3*us, float64(x.Bytes)/us)
		}
	}
	return os.WriteFile(name, []byte(b.String()), 0o644)
}

// newReport describes the device.
func newReport(info compute.Info, bandwidth, peak float64) *report {
	return &report{Device: info.Name, Driver: info.Driver, CopyBandwidth: bandwidth, PeakFlops: peak}
}
