package model

import (
	"context"
	"fmt"

	"lorikeet/compute"
	"lorikeet/lora"
)

// Step is a batch on the device. The model reuses it two launches later.
type Step struct {
	batch  *Batch
	block  *block
	ticket compute.Ticket
	body   *program
	end    *program // head or tail; nil: no row wants logits
}

// Launch starts a step. The batch may not change until it was collected, and no
// more than two steps may be in flight.
func (m *Llama) Launch(batch *Batch) (*Step, error) {
	return m.launch(batch, batch.adapted())
}

// launch starts a step with the programs that have adapters, or those without.
func (m *Llama) launch(batch *Batch, adapters bool) (*Step, error) {
	if rows := batch.Rows(); rows == 0 || rows > m.limits.Rows {
		return nil, fmt.Errorf("model: a step of %d rows; it runs 1 to %d", rows, m.limits.Rows)
	}
	if n := batch.logits(); n > m.limits.Logits {
		return nil, fmt.Errorf("model: a step with logits of %d rows; it has room for %d", n, m.limits.Logits)
	}
	if n := batch.adjustments(); n > m.limits.Adjusts {
		return nil, fmt.Errorf("model: a step of %d adjustments; it has room for %d", n, m.limits.Adjusts)
	}
	for _, site := range [...]lora.Site{lora.EmbedTokens, lora.LMHead} {
		if batch.Targets[site] && !m.adapters.Targets[site] {
			return nil, fmt.Errorf("model: the batch has an adapter of %s; the model was opened without", site)
		}
	}
	s := &m.steps[m.turn]
	s.batch, s.block = batch, m.blocks[m.turn]
	err := m.choose(s, adapters)
	if err != nil {
		return nil, err
	}
	m.writePages(batch)
	m.fill(s)
	m.turn = 1 - m.turn
	if s.end == nil {
		s.ticket, err = m.device.Submit(s.body.Program)
	} else {
		s.ticket, err = m.device.Submit(s.body.Program, s.end.Program)
	}
	return s, err
}

// warm runs warmRuns without and with adapter work, so that the first request
// does not wait for what drivers put off until a kernel first runs. It ends with
// the run during which ctx does.
func (m *Llama) warm(ctx context.Context) error {
	runs := warmRuns(m.shape.Context, m.limits.Rows, m.rowwise())
	for _, adapters := range m.variants() {
		for _, r := range runs {
			batch := &Batch{Runs: []Run{r}}
			if adapters {
				batch.Targets = m.adapters.Targets
			}
			s, err := m.launch(batch, adapters)
			if err != nil {
				return fmt.Errorf("model: warm up: %w", err)
			}
			if _, err := m.Collect(s, nil); err != nil {
				return fmt.Errorf("model: warm up: %w", err)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// warmRuns are a prompt and a decode step behind it, where the context has room
// for that. The prompt is as long as a step of so many rows can have it, whose
// kernels are others than those of a few; those that go row by row take all
// alike. What they leave in lane 0 and page 0 nobody reads.
func warmRuns(context, rows int, rowwise bool) []Run {
	rows = min(rows, max(1, context-1))
	if rowwise {
		rows = min(rows, PageTokens-1)
	}
	sampling := &Sampling{TopP: 1}
	runs := []Run{{Token: make([]int32, rows), Rows: rows, Slot: Base, Pages: make([]int32, PagesFor(rows+1)), Sample: sampling}}
	if rows < context {
		runs = append(runs, Run{Start: rows, Rows: 1, Slot: Base, Sample: sampling})
	}
	return runs
}

// choose picks the programs that run the batch.
func (m *Llama) choose(s *Step, adapters bool) (err error) {
	key := programKey{part: mixedBody, adapters: adapters, turn: m.turn}
	if m.rowByRow(s.batch) {
		key.part = decodeBody
	}
	key.rows = bucket(m.buckets[key.part], s.batch.Rows())
	if s.body, err = m.recorded(key); err != nil {
		return err
	}
	s.end = nil
	logits, most := s.batch.logits(), m.tailRows()
	if key.leavesTail() && logits > most {
		return fmt.Errorf("model: a step of %d rows with logits of %d; a tail has room for %d", s.batch.Rows(), logits, most)
	}
	if logits > 0 {
		s.end, err = m.recorded(m.end(key, logits, s.batch.Targets[lora.LMHead], s.batch.adjustments() > 0))
	}
	return err
}

// recorded finds a program.
func (m *Llama) recorded(key programKey) (*program, error) {
	p := m.programs[key]
	if p == nil {
		return nil, fmt.Errorf("model: the batch asks for the program %q, which there is not", key)
	}
	return p, nil
}

// rowByRow says whether the decode programs can run the batch, in which every row
// attends by itself: its runs are single rows, or short. Where attention takes
// rows one by one in all programs, those for prompts pad less.
func (m *Llama) rowByRow(b *Batch) bool {
	if b.Rows() > m.limits.Lanes {
		return false
	}
	for i := range b.Runs {
		if r := &b.Runs[i]; r.Rows > 1 && (m.rowwise() || !r.short()) {
			return false
		}
	}
	return true
}

// writePages enters the runs' new pages in the page table. Entries that steps
// in flight read do not change: a lane gets a new sequence only after its last
// step was collected.
func (m *Llama) writePages(batch *Batch) {
	for i := range batch.Runs {
		run := &batch.Runs[i]
		line := m.pageTable[run.Lane*m.pagesPerLane:]
		for j, page := range run.Pages {
			line[run.FirstPage+j] = m.pool.entry(page)
		}
	}
}

// Collect waits for a step and appends its outputs: for each run in order, one
// per scored token, then the sampled token if there is one.
func (m *Llama) Collect(s *Step, out []Output) ([]Output, error) {
	if err := m.device.Wait(s.ticket); err != nil {
		return out, fmt.Errorf("model: wait for a step: %w", err)
	}
	if err := m.collectProfile(s); err != nil {
		return out, err
	}
	row := 0
	for i := range s.batch.Runs {
		run := &s.batch.Runs[i]
		n := len(run.Score)
		if run.Sample != nil {
			n++
		}
		for range n {
			out = append(out, s.block.output(row, run.Logprobs))
			row++
		}
	}
	return out, nil
}

// collectProfile takes a finished step's timestamps, where there are any.
func (m *Llama) collectProfile(s *Step) error {
	if m.profiler == nil {
		return nil
	}
	if err := m.profiler.Collect(s.body.Program); err != nil || s.end == nil {
		return err
	}
	return m.profiler.Collect(s.end.Program)
}

// output reads the answer to one logit row.
func (b *block) output(row int, want Logprobs) Output {
	r := &b.results[row]
	o := Output{Token: int32(r.Token), Logprob: r.Logprob}
	if want.Top > 0 {
		o.Top = make([]TokenLogprob, want.Top)
		for i, e := range b.top[row*MaxTop : row*MaxTop+want.Top] {
			o.Top[i] = TokenLogprob{ID: int32(e.Token), Logprob: e.Logprob}
		}
	}
	if len(want.IDs) > 0 {
		o.IDs = make([]TokenLogprob, len(want.IDs))
		at := int(b.samples[row].IdsOffset)
		for i, id := range want.IDs {
			o.IDs[i] = TokenLogprob{ID: id, Logprob: b.idScores[at+i]}
		}
	}
	return o
}

// Output is what a step answers for one sampled or scored token.
type Output struct {
	Token   int32
	Logprob float32 // NaN where the row's logits were
	Top     []TokenLogprob
	IDs     []TokenLogprob
}

// TokenLogprob is a token and its natural log probability.
type TokenLogprob struct {
	ID      int32
	Logprob float32
}
