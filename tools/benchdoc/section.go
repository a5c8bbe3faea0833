package main

import (
	"fmt"
	"strings"

	"lorikeet/tools/yardstick"
)

// groups are the tables of kernels, by what their rows' names begin with.
var groups = []struct{ prefix, title string }{
	{"project/", "Projections, beside cuBLAS"},
	{"attend_", "Attention, beside torch's flash attention"},
	{"lora/", "LoRA shrink and expand, beside Triton's kernels"},
	{"", "Other kernels"},
}

// section is the generated part of the document.
func section(kernels, steps, baseline *yardstick.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Measured by `make bench`: %s\n\n", kernels.Device)
	fmt.Fprintf(&b, "%s; copy %.2f TB/s, products in bf16 up to %.0f TFLOP/s (cuBLAS). Baseline: %s, %s.\n", kernels.Driver,
		kernels.CopyBandwidth/1e12, kernels.PeakFlops/1e12, baseline.Device, baseline.Driver)
	b.WriteString("Times are medians of samples by the device's clock, over weights that are too many for its caches; the spread is that of all\n" +
		"samples. The roof is the time that a kernel's bytes take at the copy's bandwidth, or its products at the peak, whichever is longer.\n\n" +
		"![speed of projections against cuBLAS](benchmarks/products.svg)\n![decode steps against their floor](benchmarks/steps.svg)\n\n")
	rest := kernels.Results
	for _, g := range groups {
		var rows, others []yardstick.Result
		for _, x := range rest {
			if strings.HasPrefix(x.Name, g.prefix) {
				rows = append(rows, x)
			} else {
				others = append(others, x)
			}
		}
		rest = others
		if len(rows) > 0 {
			kernelTable(&b, g.title, kernels, rows)
		}
	}
	stepTable(&b, steps)
	return b.String()
}

func kernelTable(b *strings.Builder, title string, r *yardstick.Report, rows []yardstick.Result) {
	fmt.Fprintf(b, "### %s\n\n| kernel | µs | spread | GB/s | TFLOP/s | of roof | baseline µs | baseline / ours |\n|---|---|---|---|---|---|---|---|\n", title)
	for i := range rows {
		x := &rows[i]
		fmt.Fprintf(b, "| %s | %.1f | %.0f%% | %.0f | %.1f | %.0f%% | %s |\n", x.Name, x.Us, spread(x),
			float64(x.Bytes)/x.Us/1e3, float64(x.Flops)/x.Us/1e6, 100*r.Roof(x)/x.Us, baseline(x, 1))
	}
	b.WriteByte('\n')
}

func stepTable(b *strings.Builder, r *yardstick.Report) {
	b.WriteString("### Whole steps, beside PyTorch's\n\n" +
		"The floor is the time in which weights, keys and values and the batch's adapters stream; steps with chunks of prompts are bound by products.\n" +
		"The host's time is that of launching a step while the device runs the one before, the median.\n\n" +
		"| step | ms | spread | tokens/s | floor, ms | ratio | host µs | baseline ms | baseline / ours |\n|---|---|---|---|---|---|---|---|---|\n")
	for i := range r.Results {
		x := &r.Results[i]
		floor := r.Roof(&yardstick.Result{Bytes: x.Bytes})
		fmt.Fprintf(b, "| %s | %.3f | %.0f%% | %.0f | %.3f | %.2f | %.1f | %s |\n", x.Name, x.Us/1e3, spread(x),
			1e6*float64(x.Rows)/x.Us, floor/1e3, x.Us/floor, x.Host, baseline(x, 1e3))
	}
	if text := mixed(r); text != "" {
		b.WriteString("\n" + text + "\n")
	}
	b.WriteByte('\n')
}

// mixed compares a mixed step with the sum of its parts, which stepbench runs just before it.
func mixed(r *yardstick.Report) string {
	for i := range r.Results {
		if i < 2 || !strings.HasPrefix(r.Results[i].Name, "mixed/") {
			continue
		}
		both, chunk := &r.Results[i], &r.Results[i-1]
		batch, _, _ := strings.Cut(strings.TrimPrefix(both.Name, "mixed/"), "/")
		for j := range r.Results {
			decode := &r.Results[j]
			if strings.HasPrefix(decode.Name, "step/"+batch+"/") && strings.HasSuffix(decode.Name, "/adapters=0") {
				return fmt.Sprintf("%s takes %.2f times as long as %s and %s one after the other.", both.Name, both.Us/(decode.Us+chunk.Us), decode.Name, chunk.Name)
			}
		}
	}
	return ""
}

func spread(x *yardstick.Result) float64 { return 100 * (x.Highest - x.Lowest) / x.Us }

// baseline is the last two cells, in units of so many microseconds; empty where there is none.
func baseline(x *yardstick.Result, unit float64) string {
	if x.Baseline == 0 {
		return " | "
	}
	return fmt.Sprintf("%.4g | %.2f", x.Baseline/unit, x.Baseline/x.Us)
}
