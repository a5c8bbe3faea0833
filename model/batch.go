package model

import (
	"lorikeet/lora"
	"lorikeet/shaders"
)

// Base is the slot of rows that run without an adapter.
const Base = -1

// Batch is the work of one step: one run per sequence. Runs that share a slot
// are adjacent, and runs of the base model come last, so that the rows of an
// adapter form one segment.
type Batch struct {
	Runs    []Run
	Rank    int          // the most products (lora.Adapter.Products) among the batch's adapters
	Targets lora.Targets // the sites that they change
}

// Run is what one sequence contributes to a step.
type Run struct {
	Lane  int     // place in the page table
	Slot  int     // adapter slot, or Base
	Start int     // position of the first row
	Rows  int     // rows of this run
	Token []int32 // the rows' tokens; nil: one row, the lane's last sampled token

	Pages     []int32 // pages to enter in the lane's line of the page table,
	FirstPage int     // from this entry on

	Sample *Sampling    // how to sample from the last row; nil: no token is wanted yet
	Adjust []Adjustment // what becomes of that row's logits before, each token once
	// Score asks for the log probability of known tokens: Score[i] after row
	// ScoreFrom+i. It serves prompt log probabilities.
	Score     []int32
	ScoreFrom int
	Logprobs  Logprobs // what to report beside each sampled or scored token
}

// Sampling is how the next token is drawn. The meaning and the order of the
// filters are SGLang's: softmax at Temperature, then top-k, top-p and min-p
// together on those probabilities.
type Sampling struct {
	Temperature float32 // 0: the most likely token
	TopK        int     // 0: off
	TopP        float32 // 1: off
	MinP        float32 // 0: off
	Seed        uint64  // the draw depends on (Seed, position) alone
}

// Adjustment is what becomes of one token's logit x: x / Factor + Add where x is
// positive, else x * Factor + Add.
type Adjustment = shaders.Adjustment

// Logprobs is what is reported beside a token's own log probability.
type Logprobs struct {
	Top int     // the most likely tokens, at most shaders.MaxTop
	IDs []int32 // these tokens, at most MaxLogprobIDs
}

// Rows counts the rows of all runs.
func (b *Batch) Rows() int {
	n := 0
	for i := range b.Runs {
		n += b.Runs[i].Rows
	}
	return n
}

// shortRows bounds the runs of several rows that decode programs run.
const shortRows = 16

// short says whether decode attention may take the run row by row. It reads keys
// that the rows share again for each, so they are few. And where stages flow it
// reads a row's first keys while the stage before may still write those of the
// run's other rows, unless there are no more than it reads together.
func (r *Run) short() bool { return r.Rows <= shortRows && r.Start+r.Rows <= shaders.DecodeChunk }

// adapted says whether any row has an adapter.
func (b *Batch) adapted() bool {
	return len(b.Runs) > 0 && b.Runs[0].Slot != Base
}

// adjustments counts those of all runs.
func (b *Batch) adjustments() int {
	n := 0
	for i := range b.Runs {
		n += len(b.Runs[i].Adjust)
	}
	return n
}

// logits counts the rows whose logits the batch needs.
func (b *Batch) logits() int {
	n := 0
	for i := range b.Runs {
		n += len(b.Runs[i].Score)
		if b.Runs[i].Sample != nil {
			n++
		}
	}
	return n
}
