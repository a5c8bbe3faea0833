package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"lorikeet/shaders"
	"lorikeet/tools/yardstick"
)

// tune compares the ways to run each product and prints the fastest one for each number of rows, in the form of the tables that
// Dispatch chooses from. A way whose result is wrong is not compared, and named.
func (b *bench) tune(o options, r *yardstick.Report, list []product) error {
	fmt.Printf("// %s, %s, copy %.2f TB/s; times in µs: the fastest, and what the tables take today.\n", r.Device, r.Driver, r.CopyBandwidth/1e12)
	var wrong []error
	for _, p := range list {
		for _, tokens := range o.tokens {
			x := p.row(tokens)
			if p.label == "lm_head" && tokens > mostHeadTokens || o.run != nil && !o.run.MatchString(x.name) {
				continue
			}
			op := p.op(tokens)
			best, err := b.fastest(x.name, op, op.Choices(b.kernels))
			wrong = append(wrong, err)
			if len(best) == 0 {
				continue
			}
			today := best[slices.IndexFunc(best, func(t timed) bool { return t.source == "" })]
			cut := best[0].source
			if cut == "" {
				cut = "as today"
			}
			fmt.Printf("// %s %dx%d\n{tokens: %d, %s}, // %.1f, today %.1f, of %d\n", p.label, p.out, p.in, tokens, cut, best[0].us, today.us, len(best))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		fmt.Fprintln(os.Stderr, "kernelbench: left out:", err)
	}
	return nil
}

// timed is a way to run a product and how long it took.
type timed struct {
	source string
	us     float64
}

// fastest times ways to run a product, the fastest first. The error names those that were left out.
func (b *bench) fastest(name string, op shaders.Project, choices []shaders.Choice) ([]timed, error) {
	var list []timed
	var left []error
	for _, c := range choices {
		samples, _, err := b.run(row{name: name, build: func(t *trial) { t.project(op, c.Launch) }})
		if err != nil {
			left = append(left, fmt.Errorf("%s %s: %w", name, c.Source, err))
			continue
		}
		list = append(list, timed{c.Source, yardstick.NewResult(name, samples, 0, 0).Us})
	}
	slices.SortStableFunc(list, func(a, b timed) int { return cmp.Compare(a.us, b.us) })
	if !slices.ContainsFunc(list, func(t timed) bool { return t.source == "" }) {
		return nil, errors.Join(append(left, fmt.Errorf("%s: what the tables take today is among them", name))...)
	}
	return list, errors.Join(left...)
}
