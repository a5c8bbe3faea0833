package yardstick

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

// Report is what one run measured. kernelbench, stepbench and cudabench write it as JSON.
type Report struct {
	Device        string   `json:"device"`
	Driver        string   `json:"driver"`
	CopyBandwidth float64  `json:"copy_bandwidth"` // bytes read plus written per second
	PeakFlops     float64  `json:"peak_flops"`     // of products in bf16; 0: not known
	Results       []Result `json:"results"`
}

// Result is a row of a report. Times are microseconds.
type Result struct {
	Name     string    `json:"name"`
	Us       float64   `json:"us"` // the median
	Lowest   float64   `json:"lowest_us"`
	Highest  float64   `json:"highest_us"`
	Bytes    int64     `json:"bytes"` // that have to move at least
	Flops    int64     `json:"flops"`
	Baseline float64   `json:"baseline_us,omitempty"`
	Rows     int       `json:"rows,omitempty"`    // of a whole step
	Host     float64   `json:"host_us,omitempty"` // that the host takes to launch a step, the median
	Samples  []float64 `json:"-"`
}

// NewResult is a row of samples in seconds, of work that has to move so many bytes and multiply so often.
func NewResult(name string, seconds []float64, bytes, flops int64) Result {
	list := slices.Clone(seconds)
	for i := range list {
		list[i] *= 1e6
	}
	slices.Sort(list)
	return Result{
		Name: name, Us: list[len(list)/2], Lowest: list[0], Highest: list[len(list)-1], Bytes: bytes, Flops: flops, Samples: list,
	}
}

// Roof is the least time in microseconds that the device's bandwidth and arithmetic allow.
func (r *Report) Roof(x *Result) float64 {
	least := float64(x.Bytes) / r.CopyBandwidth
	if r.PeakFlops > 0 {
		least = max(least, float64(x.Flops)/r.PeakFlops)
	}
	return 1e6 * least
}

// ReadReport reads the JSON of a report.
func ReadReport(name string) (*Report, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// Compare enters a baseline's times, and its peak where there is none.
func (r *Report) Compare(baseline *Report) {
	if r.PeakFlops == 0 {
		r.PeakFlops = baseline.PeakFlops
	}
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

// Print writes a table of kernels.
func (r *Report) Print(w io.Writer) error {
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
			float64(x.Bytes)/x.Us/1e3, float64(x.Flops)/x.Us/1e6, 100*r.Roof(x)/x.Us, baseline, ratio)
	}
	return table.Flush()
}

// WriteJSON writes the report for other programs.
func (r *Report) WriteJSON(name string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

// WriteBenchstat writes the samples in the form of go test -bench, which golang.org/x/perf/cmd/benchstat compares.
func (r *Report) WriteBenchstat(name string) error {
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

// NewReport describes the device; peak is 0 where it is not known.
func NewReport(info compute.Info, bandwidth, peak float64) *Report {
	return &Report{Device: info.Name, Driver: info.Driver, CopyBandwidth: bandwidth, PeakFlops: peak}
}
