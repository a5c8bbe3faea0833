package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// report and result have the JSON of tools/yardstick's, which cannot be imported: its Vulkan binding and vgpu's do not link
// into one program.
type report struct {
	Device        string   `json:"device"`
	Driver        string   `json:"driver"`
	CopyBandwidth float64  `json:"copy_bandwidth"` // bytes read plus written per second, the best sample of the copy
	PeakFlops     float64  `json:"peak_flops"`     // 0: not known
	Results       []result `json:"results"`
}

// result is a row. Times are microseconds.
type result struct {
	Name    string  `json:"name"`
	Us      float64 `json:"us"` // the median
	Lowest  float64 `json:"lowest_us"`
	Highest float64 `json:"highest_us"`
	Bytes   int64   `json:"bytes"` // that have to move at least
	Flops   int64   `json:"flops"`
}

// newResult is a row of samples in seconds.
func newResult(name string, seconds []float64, bytes, flops int64) result {
	list := slices.Sorted(slices.Values(seconds))
	return result{
		Name: name, Us: 1e6 * list[len(list)/2], Lowest: 1e6 * list[0], Highest: 1e6 * list[len(list)-1], Bytes: bytes, Flops: flops,
	}
}

// print writes a table.
func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s; copy %.3f TB/s\n", r.Device, r.Driver, r.CopyBandwidth/1e12)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "kernel\tµs\tlowest\thighest\tGB/s\tTFLOP/s\t\n")
	for _, x := range r.Results {
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.3f\t\n", x.Name, x.Us, x.Lowest, x.Highest,
			float64(x.Bytes)/x.Us/1e3, float64(x.Flops)/x.Us/1e6)
	}
	return table.Flush()
}

// writeJSON writes the report for other programs.
func (r *report) writeJSON(name string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}
