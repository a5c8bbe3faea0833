// Command benchdoc writes what kernelbench, stepbench and cudabench measured on one machine into a document, ours beside
// the baseline, with plots.
//
//	benchdoc -in FOLDER -document docs/BENCHMARKS.md
//
// It replaces what stands between the document's markers, and leaves the rest. The plots go into a folder beside it.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"lorikeet/tools/yardstick"
)

const (
	begin = "<!-- measured: begin -->\n"
	end   = "<!-- measured: end -->\n"
)

func main() {
	in := flag.String("in", ".", "folder with kernels.json, steps.json and cudabench.json")
	document := flag.String("document", "docs/BENCHMARKS.md", "file to write into")
	flag.Parse()
	if err := run(*in, *document); err != nil {
		fmt.Fprintln(os.Stderr, "benchdoc:", err)
		os.Exit(1)
	}
}

func run(in, document string) error {
	var reports []*yardstick.Report
	for _, name := range []string{"kernels.json", "steps.json", "cudabench.json"} {
		r, err := yardstick.ReadReport(filepath.Join(in, name))
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	kernels, steps, baseline := reports[0], reports[1], reports[2]
	kernels.Compare(baseline)
	steps.Compare(baseline)
	folder := filepath.Join(filepath.Dir(document), "benchmarks")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := plotProducts(kernels, filepath.Join(folder, "products.svg")); err != nil {
		return err
	}
	if err := plotSteps(steps, filepath.Join(folder, "steps.svg")); err != nil {
		return err
	}
	old, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	text, err := replace(string(old), section(kernels, steps, baseline))
	if err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	return os.WriteFile(document, []byte(text), 0o644)
}

// replace puts text between the markers.
func replace(document, text string) (string, error) {
	before, rest, ok := strings.Cut(document, begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return "", fmt.Errorf("no %q with %q behind it", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + text + end + after, nil
}
