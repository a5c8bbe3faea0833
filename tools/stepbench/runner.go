package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"lorikeet/lora"
	"lorikeet/model"
)

// runner decodes one batch step after step.
type runner struct {
	b        *bench
	batches  [2]model.Batch
	position int
	launched int
	last     *model.Step
	outputs  []model.Output
	sampling model.Sampling
}

func newRunner(b *bench, batch, adapters int) *runner {
	r := &runner{b: b, position: b.o.context, sampling: model.Sampling{TopP: 1}}
	perLane := model.PagesFor(b.model.Limits().Context)
	for turn := range r.batches {
		for lane := range batch {
			run := model.Run{Lane: lane, Slot: model.Base, Rows: 1, Sample: &r.sampling}
			if adapters > 0 {
				run.Slot = b.slots[lane*adapters/batch] // adapters in order, as the server sorts them
				r.batches[turn].Rank = b.o.rank
			}
			if turn == 0 {
				run.Pages = b.pages[lane*perLane : (lane+1)*perLane]
			}
			r.batches[turn].Runs = append(r.batches[turn].Runs, run)
		}
	}
	return r
}

// steps runs n steps and leaves none in flight.
func (r *runner) steps(n int) error {
	for range n {
		batch := &r.batches[r.launched%2]
		for i := range batch.Runs {
			batch.Runs[i].Start = r.position
			if r.launched == 0 {
				batch.Runs[i].Token = []int32{int32(i)}
			} else {
				batch.Runs[i].Token = nil
			}
		}
		step, err := r.b.model.Launch(batch)
		if err != nil {
			return err
		}
		if err := r.collect(); err != nil {
			return err
		}
		r.last = step
		r.position++
		r.launched++
	}
	return r.collect()
}

func (r *runner) collect() error {
	if r.last == nil {
		return nil
	}
	var err error
	r.outputs, err = r.b.model.Collect(r.last, r.outputs[:0])
	r.last = nil
	return err
}

// check looks at the last step's tokens: a step that did not compute answers
// something that is no log probability.
func (r *runner) check() error {
	vocab := r.b.model.Shape().Vocab
	for _, o := range r.outputs {
		if math.IsNaN(float64(o.Logprob)) || o.Logprob > 0 || o.Logprob == 0 && vocab > 1 || int(o.Token) >= vocab {
			return fmt.Errorf("a step answered token %d with log probability %v", o.Token, o.Logprob)
		}
	}
	return nil
}

// randomAdapter targets every site of every layer. Its matrices share one random block: what
// counts here is that each lies in memory of its own.
func randomAdapter(base lora.Base, rank int, id uint64) *lora.Adapter {
	r := rand.New(rand.NewPCG(id, 0))
	widest := 0
	for s := range lora.Sites {
		widest = max(widest, base.In[s], base.Out[s])
	}
	values := make([]float32, rank*((widest+7)&^7))
	for i := range values {
		values[i] = float32(r.NormFloat64()) / 64
	}
	block := base.Type.Encode(values)
	matrix := func(width int) []byte { return block[:rank*((width+7)&^7)*base.Type.Size()] }
	sites := make([]lora.Weights, base.SitesPerSlot())
	for layer := range base.Layers {
		for s := range lora.Sites {
			sites[base.Index(layer, s)] = lora.Weights{Rank: rank, Scale: 1, A: matrix(base.In[s]), B: matrix(base.Out[s])}
		}
	}
	return lora.NewAdapter(fmt.Sprint("random ", id), "", base.Type, sites, base)
}
