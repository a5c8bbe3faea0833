package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// work is a batch that is run step after step.
type work struct {
	name  string
	ranks []int // of the adapters
	runs  []part
}

// part is what one sequence contributes to each step: one row that decodes, or a chunk that begins its prompt.
type part struct {
	adapter int // of ranks; -1: the base
	start   int // tokens before it
	rows    int
}

// works lists what the options ask for.
func (o *options) works() []work {
	var list []work
	for _, context := range o.contexts {
		for _, batch := range o.batches {
			for _, rank := range o.ranks {
				for _, adapters := range o.adapters {
					if adapters <= batch && (adapters > 0 || rank == o.ranks[0]) {
						list = append(list, decodes(batch, context, slices.Repeat([]int{rank}, adapters)))
					}
				}
			}
		}
	}
	for _, batch := range o.batches {
		for _, many := range o.drawn {
			list = append(list, drawn(batch, o.contexts[0], many, o.ranks[0]))
		}
	}
	if o.zipf > 0 {
		list = append(list, decodes(o.zipf, o.contexts[0], nil), popular(o.zipf, o.contexts[0]))
	}
	if o.mixed > 0 {
		alone := decodes(o.mixed, o.contexts[0], nil)
		chunk := work{name: fmt.Sprintf("chunk/tokens=%d", o.chunk), runs: []part{{adapter: -1, rows: o.chunk}}}
		list = append(list, alone, chunk, mixed(alone, o.chunk))
		for _, adapters := range o.adapters {
			list = append(list, mixed(decodes(o.mixed, o.contexts[0], slices.Repeat(o.ranks[:1], min(adapters, o.mixed))), o.chunk))
		}
	}
	if o.prefill > 0 {
		list = append(list, prompts(o.prefill, o.chunk, nil), prompts(o.prefill, o.chunk, slices.Repeat(o.ranks[:1], o.prefill)))
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(w work) bool {
		again := seen[w.name]
		seen[w.name] = true
		return again
	})
}

// defaultRank is what names leave out, as cudabench's do.
const defaultRank = 16

// decodes is a batch whose sequences share the adapters evenly.
func decodes(batch, context int, ranks []int) work {
	w := work{name: fmt.Sprintf("step/batch=%d/context=%d/adapters=%d", batch, context, len(ranks)), ranks: ranks}
	if len(ranks) > 0 && ranks[0] != defaultRank {
		w.name += fmt.Sprintf("/rank=%d", ranks[0])
	}
	for lane := range batch {
		adapter := -1
		if len(ranks) > 0 {
			adapter = lane * len(ranks) / batch // in order, as the server sorts them
		}
		w.runs = append(w.runs, part{adapter: adapter, start: context - 1, rows: 1})
	}
	return w
}

// share is how popular the k-th adapter is, from 0, among others: by Zipf 1.5.
func share(k int) float64 { return math.Pow(float64(k+1), -1.5) }

// drawn is a batch whose sequences have each drawn one of many adapters by their shares, always the same ones.
func drawn(batch, context, many, rank int) work {
	w := work{name: fmt.Sprintf("step/batch=%d/context=%d/drawn=%d", batch, context, many)}
	up := make([]float64, many) // shares added up
	total := 0.0
	for k := range up {
		total += share(k)
		up[k] = total
	}
	random := rand.New(rand.NewPCG(1, uint64(batch)))
	picks := make([]int, batch)
	for i := range picks {
		picks[i], _ = slices.BinarySearch(up, random.Float64()*total)
	}
	slices.Sort(picks)
	for i, pick := range picks {
		if i == 0 || pick != picks[i-1] {
			w.ranks = append(w.ranks, rank)
		}
		w.runs = append(w.runs, part{adapter: len(w.ranks) - 1, start: context - 1, rows: 1})
	}
	return w
}

// popular is a batch over eight adapters of ranks 8 to 64: each has its share, and at least one row.
func popular(batch, context int) work {
	w := work{name: fmt.Sprintf("step/batch=%d/context=%d/adapters=8/zipf", batch, context), ranks: []int{16, 8, 64, 32, 8, 16, 32, 64}}
	total := 0.0
	for k := range w.ranks {
		total += share(k)
	}
	for k := range w.ranks {
		rows := max(1, int(math.Round(float64(batch)*share(k)/total)))
		if k == len(w.ranks)-1 {
			rows = max(1, batch-len(w.runs))
		}
		for range min(rows, batch-len(w.runs)) {
			w.runs = append(w.runs, part{adapter: k, start: context - 1, rows: 1})
		}
	}
	return w
}

// mixed is a batch of decodes beside a prompt's chunk, which has the first of their adapters.
func mixed(w work, chunk int) work {
	w.name = fmt.Sprintf("mixed/batch=%d/chunk=%d", len(w.runs), chunk)
	if len(w.ranks) > 0 {
		w.name += fmt.Sprintf("/adapters=%d", len(w.ranks))
	}
	w.runs = slices.Concat([]part{{adapter: min(0, len(w.ranks)-1), rows: chunk}}, w.runs)
	return w
}

// prompts is whole prompts, each with an adapter of its own where there are any.
func prompts(count, tokens int, ranks []int) work {
	w := work{name: fmt.Sprintf("prefill/prompts=%d/tokens=%d", count, tokens), ranks: ranks}
	if len(ranks) > 0 {
		w.name += fmt.Sprintf("/adapters=%d", len(ranks))
	}
	for i := range count {
		adapter := -1
		if len(ranks) > 0 {
			adapter = i
		}
		w.runs = append(w.runs, part{adapter: adapter, rows: tokens})
	}
	return w
}

// rows counts the rows of a step.
func (w *work) rows() int {
	n := 0
	for _, p := range w.runs {
		n += p.rows
	}
	return n
}

// longest is the most tokens of a sequence after its steps.
func (w *work) longest(steps int) int {
	n := 0
	for _, p := range w.runs {
		n = max(n, p.start+p.rows)
	}
	return n + steps
}
