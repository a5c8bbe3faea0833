package parity

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/server/engine"
)

// narrow is a model that is said to take fewer rows in a step, so that prompts come in smaller chunks.
type narrow struct {
	*model.Llama
	rows int
}

func (n narrow) Limits() model.Limits {
	limits := n.Llama.Limits()
	limits.Rows = n.rows
	return limits
}

// way is how an engine runs a set of requests.
type way struct {
	name    string
	rows    int // of one step
	overlap bool
	alone   bool // each request after the one before it has finished
}

var ways = []way{
	{"alone", stepRows, false, true},
	{"alone, overlapped", stepRows, true, true},
	{"together", stepRows, false, false},
	{"together, overlapped", stepRows, true, false},
	{"together, in chunks of 16", 16, true, false},
	{"together, in chunks of 7", 7, false, false},
}

// company: which tokens a request gets does not depend on what runs beside it, on the size of prompt chunks, or on whether
// steps overlap. Sums may be cut differently for other batch sizes, so a token whose lead is within rounding may turn; from
// there on the answers are not compared.
func (p *properties) company(t *testing.T, f *fixtures, name string, served []string) {
	var requests []engine.Request
	for i, length := range []int{3, 40, 17, 1, 26, 8} {
		r := engine.Request{
			Sampling: engine.Sampling{MaxNewTokens: 12, TopP: 1, IgnoreEOS: true},
			Logprobs: engine.Logprobs{Return: true, Start: -1, Top: 2},
		}
		if i%3 > 0 { // every third under the base
			r.Adapter = served[1+p.random.IntN(len(served)-1)]
		}
		r.Prompt = p.prompt(nil, length-1, 0).tokens
		requests = append(requests, r)
	}
	registry := lora.NewRegistry(func(adapter, _ string) (*lora.Adapter, error) { return p.read(f, name, adapter) }, slotCount, 0)
	for _, adapter := range served[1:] {
		require.NoError(t, registry.Load(t.Context(), adapter, adapter, false))
	}
	want := p.answer(t, registry, requests, ways[0])
	ties := 0
	for _, w := range ways[1:] {
		got := p.answer(t, registry, requests, w)
		for i := range requests {
			require.Len(t, got[i], len(want[i]))
			for j, token := range want[i] {
				if got[i][j].ID == token.ID {
					continue
				}
				lead := float64(token.Top[0].Logprob) - float64(token.Top[1].Logprob)
				require.LessOrEqual(t, lead, slack[p.shape.Type]/2, "%s: request %d under %q: token %d", w.name, i, requests[i].Adapter, j)
				ties++
				break
			}
		}
	}
	t.Logf("%d of %d answers turned at a tie", ties, len(requests)*(len(ways)-1))
}

// answer runs the requests through an engine.
func (p *properties) answer(t *testing.T, registry *lora.Registry, requests []engine.Request, w way) [][]engine.Token {
	config := engine.Config{Overlap: w.overlap, Vocab: p.shape.Vocab, MaxWaiting: 100}
	e := engine.New(config, narrow{p.llama, w.rows}, registry, p.residency)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	var out [][]engine.Token
	if w.alone {
		for _, r := range requests {
			out = append(out, collect(t, e, []engine.Request{r})...)
		}
	} else {
		out = collect(t, e, requests)
	}
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
	return out
}

func collect(t *testing.T, e *engine.Engine, requests []engine.Request) [][]engine.Token {
	streams, err := e.Submit(t.Context(), requests)
	require.NoError(t, err)
	out := make([][]engine.Token, len(streams))
	for i, s := range streams {
		for finished := false; !finished; {
			u, err := s.Next(t.Context())
			require.NoError(t, err)
			out[i] = append(out[i], u.Tokens...)
			if u.Finish != nil {
				require.Equal(t, engine.FinishLength, u.Finish.Reason, u.Finish.Message)
				finished = true
			}
		}
	}
	return out
}
