package model

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"lorikeet/compute"
	"lorikeet/lora"
)

// Plan prints the recorded programs that run a number of tokens, rows that decode
// or, where these are more than Limits.Lanes, a prompt: their stages, their dispatches with kernel variant,
// bytes and flops, and the number of stages per layer. Bytes and flops are the
// fewest the dispatch needs; adapters' own are left out, since they depend on
// the batch.
func (m *Llama) Plan(w io.Writer, tokens int, adapters bool) error {
	if tokens < 1 || tokens > m.limits.Rows {
		return fmt.Errorf("model: a step runs 1 to %d tokens, not %d", m.limits.Rows, tokens)
	}
	if adapters && !m.adapters.enabled() {
		return fmt.Errorf("model: the model was opened without adapters")
	}
	p, logits := decodeBody, tokens
	if tokens > m.limits.Lanes {
		p, logits = mixedBody, 1
	}
	body := programKey{part: p, rows: bucket(m.buckets[p], tokens), adapters: adapters}
	end := m.end(body, logits, adapters && m.adapters.Targets[lora.LMHead], false)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "stage\tdispatch\tvariant\tkernel\tMB\tMFLOP\t\n")
	first, last := m.unrun(body), m.unrun(end)
	n := planStages(table, planStages(table, 0, first.stages), last.stages)
	if err := table.Flush(); err != nil {
		return fmt.Errorf("model: print the plan: %w", err)
	}
	if _, err := fmt.Fprintf(w, "programs: %s, %s\nstages: %d\nstages per layer: %d\n", body, end, n, first.layerStages); err != nil {
		return fmt.Errorf("model: print the plan: %w", err)
	}
	return nil
}

// planStages prints stages and returns the number reached.
func planStages(w io.Writer, n int, stages []compute.Stage) int {
	for _, s := range stages {
		for i, d := range s.Dispatches {
			number := ""
			if i == 0 {
				number = fmt.Sprint(n)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.3f\t%.3f\t\n", number, d.Label, variant(d.Kernel.Name()), d.Kernel.Name(), float64(d.Bytes)/1e6, float64(d.Flops)/1e6)
		}
		n++
	}
	return n
}

// variant is the kernel variant that a kernel's name tells.
func variant(kernel string) string {
	if strings.Contains(kernel, "_coop") {
		return "coop"
	}
	return "fma"
}
