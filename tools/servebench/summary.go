package main

import (
	"fmt"
	"io"
	"strings"
)

// columns are what a summary says of each report. Times are in ms where they are of tokens, in s where of answers.
var columns = []row{
	{"requests", func(r *report) string { return fmt.Sprint(r.Requests) }},
	{"lost, refused", func(r *report) string { return fmt.Sprintf("%d, %d", r.Lost, r.Refused) }},
	{"tokens/s", func(r *report) string { return fmt.Sprintf("%.0f", float64(r.TokensOut)/r.Seconds) }},
	{"first token p50 / p99", func(r *report) string { return fmt.Sprintf("%.1f / %.1f", r.First.P50, r.First.P99) }},
	{"end to end p50 / p99", func(r *report) string { return fmt.Sprintf("%.2f / %.2f", r.Whole.P50/1e3, r.Whole.P99/1e3) }},
	{"token gap p50 / p99", func(r *report) string { return fmt.Sprintf("%.2f / %.2f", r.Gap.P50, r.Gap.P99) }},
	{"steady gap p50 / p99 / longest", func(r *report) string {
		if r.Steady.Max == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f / %.2f / %.2f", r.Steady.P50, r.Steady.P99, r.Steady.Max)
	}},
	{"swaps, lost", ofSwapping("%d, %d", func(r *report) []any { return []any{r.Swaps, r.Taken + r.Failed} })},
	{"load p50 / longest", ofSwapping("%.1f / %.1f", func(r *report) []any { return []any{r.Load.P50, r.Load.Max} })},
	{"load to first token p50 / longest", ofSwapping("%.1f / %.1f", func(r *report) []any {
		return []any{r.LoadFirst.P50, r.LoadFirst.Max}
	})},
}

// printSummary writes reports as a Markdown table of one line each, then what is amiss in them.
func printSummary(w io.Writer, reports []*report) error {
	var text strings.Builder
	line := func(cells []string) { fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | ")) }
	title, rule := []string{""}, []string{"---"}
	for _, c := range columns {
		title, rule = append(title, c.title), append(rule, "---")
	}
	line(title)
	line(rule)
	for _, r := range reports {
		cells := []string{r.Name}
		for _, c := range columns {
			cells = append(cells, c.cell(r))
		}
		line(cells)
	}
	text.WriteString("\n")
	for _, r := range reports {
		r.notes(&text)
	}
	_, err := io.WriteString(w, text.String())
	return err
}
