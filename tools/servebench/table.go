package main

import (
	"fmt"
	"io"
	"strings"
)

// row is one line of a report's table, or one column of a summary.
type row struct {
	title string
	cell  func(r *report) string
}

var rows = []row{
	{"requests", func(r *report) string { return fmt.Sprint(r.Requests) }},
	{"distinct adapters", func(r *report) string { return fmt.Sprint(r.Adapters) }},
	{"answered / left / refused", func(r *report) string { return fmt.Sprintf("%d / %d / %d", r.Answered, r.Left, r.Refused) }},
	{"lost", func(r *report) string { return fmt.Sprint(r.Lost) }},
	{"wrong", func(r *report) string {
		if r.Compared == 0 {
			return "not compared"
		}
		return fmt.Sprint(r.Wrong)
	}},
	{"first token p50 / p90 / p99, ms", func(r *report) string { return three(r.First) }},
	{"between tokens p50 / p99 / longest, ms", func(r *report) string {
		return fmt.Sprintf("%.2f / %.2f / %.1f", r.Gap.P50, r.Gap.P99, r.Gap.Max)
	}},
	{"between tokens while all decode p50 / p99 / longest, ms", func(r *report) string {
		if r.Steady.Max == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f / %.2f / %.2f", r.Steady.P50, r.Steady.P99, r.Steady.Max)
	}},
	{"end to end p50 / p99, s", func(r *report) string { return fmt.Sprintf("%.3f / %.3f", r.Whole.P50/1e3, r.Whole.P99/1e3) }},
	{"answers begun before, p50 / p99 / most", func(r *report) string {
		return fmt.Sprintf("%.0f / %.0f / %.0f", r.Waited.P50, r.Waited.P99, r.Waited.Max)
	}},
	{"tokens/s in, out", func(r *report) string {
		return fmt.Sprintf("%.0f, %.0f", float64(r.TokensIn)/r.Seconds, float64(r.TokensOut)/r.Seconds)
	}},
	{"cached tokens", func(r *report) string { return fmt.Sprintf("%d of %d", r.Cached, r.TokensIn) }},
	{"swaps / forestalled / failed", ofSwapping("%d / %d / %d", func(r *report) []any { return []any{r.Swaps, r.Taken, r.Failed} })},
	{"load p50 / longest, ms", ofSwapping("%.1f / %.1f", func(r *report) []any { return []any{r.Load.P50, r.Load.Max} })},
	{"load to first token p50 / longest, ms", ofSwapping("%.1f / %.1f", func(r *report) []any {
		return []any{r.LoadFirst.P50, r.LoadFirst.Max}
	})},
	{"seconds", func(r *report) string { return fmt.Sprintf("%.1f", r.Seconds) }},
}

// ofSwapping is a cell that is empty for runs without swaps.
func ofSwapping(format string, numbers func(r *report) []any) func(r *report) string {
	return func(r *report) string {
		if r.Swaps == 0 {
			return ""
		}
		return fmt.Sprintf(format, numbers(r)...)
	}
}

func three(q quantiles) string { return fmt.Sprintf("%.1f / %.1f / %.1f", q.P50, q.P90, q.P99) }

// printTable writes a report as a Markdown table, then who held what and what went wrong.
func printTable(w io.Writer, r *report) error {
	var text strings.Builder
	fmt.Fprintf(&text, "| | %s |\n|---|---|\n", r.Name)
	for _, row := range rows {
		fmt.Fprintf(&text, "| %s | %s |\n", row.title, row.cell(r))
	}
	text.WriteString("\n")
	r.notes(&text)
	_, err := io.WriteString(w, text.String())
	return err
}

// notes are what a report says besides numbers of requests.
func (r *report) notes(text *strings.Builder) {
	fmt.Fprintf(text, "%s: %s\n", r.Name, r.Idle)
	if r.Memory != nil {
		fmt.Fprintf(text, "%s: %s\n", r.Name, r.Memory)
	}
	for _, fault := range r.Faults {
		fmt.Fprintf(text, "%s: %s\n", r.Name, fault)
	}
}
