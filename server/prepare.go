package server

import (
	"context"
	"maps"
	"slices"
	"time"

	"lorikeet/lora"
	"lorikeet/server/engine"
)

// prepare turns prompts into token ids, checks lengths and adapters, and makes one answer and one engine request for
// each sequence.
func (s *Server) prepare(ctx context.Context, g *generation, received time.Time) (*running, []engine.Request, error) {
	if err := s.checkAdapters(g); err != nil {
		return nil, nil, err
	}
	priority, err := s.config.Priorities.of(g.priority)
	if err != nil {
		return nil, nil, err
	}
	run := &running{ids: g.ids, array: g.array, metrics: s.metrics}
	requests := make([]engine.Request, 0, len(g.ids))
	var unseen map[int32]string
	var stops []int32 // stop tokens and unseen stops together, ascending for the engine's search
	for i := range g.prompts {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		p := &g.prompts[i]
		ids, most, err := s.fit(p)
		if err != nil {
			return nil, nil, err
		}
		if i == 0 || !g.sampledAlike { // there may be thousands of both
			unseen = s.unseenStops(&p.sampling)
			stops = slices.AppendSeq(slices.Clone(p.sampling.stopTokens), maps.Keys(unseen))
			slices.Sort(stops)
			stops = slices.Compact(stops)
		}
		for copy := range g.n {
			id := g.ids[i*g.n+copy]
			request := engine.Request{
				ID: id, Prompt: ids, Adapter: deref(p.adapter), Namespace: p.namespace, Logprobs: p.logprobs, Priority: priority,
				Sampling: p.sampling.forEngine(most, s.seedFor(&p.sampling, copy), stops),
			}
			requests = append(requests, request)
			a := s.newAnswer(g, p, id, ids, received)
			a.unseenStops = unseen
			a.number = len(run.answers)
			run.answers = append(run.answers, a)
		}
	}
	if g.stream && g.array {
		for _, a := range run.answers {
			a.index = &a.number
		}
	}
	return run, requests, nil
}

// maxSpecialText is the longest text of a special token, in bytes.
const maxSpecialText = 1 << 10

// unseenStops are the stop strings that are special tokens, by their ids: where those do not show in the text, a string is not found there.
func (s *Server) unseenStops(p *sampling) map[int32]string {
	if s.tokenizer == nil || !p.skipSpecial {
		return nil
	}
	stops := map[int32]string{}
	for _, stop := range p.stop {
		if len(stop) > maxSpecialText {
			continue
		}
		ids := s.tokenizer.Encode(stop, false)
		if len(ids) == 1 && s.tokenizer.Decode(ids, true) == "" && s.tokenizer.Decode(ids, false) == stop {
			stops[ids[0]] = stop
		}
	}
	return stops
}

func (s *Server) newAnswer(g *generation, p *prompt, id string, ids []int32, received time.Time) *answer {
	a := &answer{
		id: id, asked: p.text, prompt: ids, sampling: &p.sampling, logprobs: p.logprobs, promptIDs: g.returnPromptIDs,
		received: received, decoder: noText{}, stopper: newStopper(p.sampling.stop),
	}
	if s.tokenizer == nil {
		return a
	}
	a.decoder = s.tokenizer.NewDecoder(p.sampling.skipSpecial)
	see(a.decoder, ids)
	if g.textInLogprobs {
		a.tokenText = func(id int32) string { return s.tokenizer.Decode([]int32{id}, false) }
		a.tokenBytes = s.tokenizer.Bytes
	}
	return a
}

// decodeContext is how many tokens of the prompt the decoder sees before the answer, whose first token may continue a
// character or, in some vocabularies, only then begin with its space.
const decodeContext = 5

// see lets a decoder see the end of a prompt.
func see(d Decoder, prompt []int32) {
	for _, id := range prompt[max(0, len(prompt)-decodeContext):] {
		d.Push(id)
	}
}

// noText is the decoder of a server without a tokenizer, whose answers are ids.
type noText struct{}

func (noText) Push(int32) string { return "" }
func (noText) Flush() string     { return "" }

// errNoTokenizer refuses text in a server that takes ids only. SGLang says the same of an empty text.
var errNoTokenizer = invalid("texts cannot be empty and tokenizer must be initialized")

// seedFor gives the answers to one prompt seeds of their own; the first has the seed that was asked for.
func (s *Server) seedFor(p *sampling, copy int) uint64 {
	if p.seed == nil {
		return s.seed()
	}
	return uint64(*p.seed) + uint64(copy)
}

func deref(name *string) string {
	if name == nil {
		return ""
	}
	return *name
}

// fit returns a prompt's ids and how many tokens may follow, or what is wrong with them.
func (s *Server) fit(p *prompt) (ids []int32, most int, err error) {
	switch {
	case p.byID:
		ids, err = s.narrow(p.ids)
	case s.tokenizer == nil:
		err = errNoTokenizer
	default:
		ids, err = s.encode(p.text, !p.special)
	}
	if err != nil {
		return nil, 0, err
	}
	if len(ids) == 0 {
		return nil, 0, invalid("input_ids cannot be empty.")
	}
	context := s.config.ContextLength
	if s.config.AllowAutoTruncate {
		most := context - 1
		if p.adapter == nil { // an adapter takes of the pool, too
			most = min(most, max(1, s.engine.Stats().TotalTokens-1))
		}
		ids = ids[:min(len(ids), most)]
	}
	if len(ids) >= context {
		return nil, 0, invalid("The input (%d tokens) is longer than the model's context length (%d tokens).", len(ids), context)
	}
	if p.logprobs.Start >= len(ids) {
		return nil, 0, invalid("logprob_start_len (%d) must be less than the number of input tokens (%d).", p.logprobs.Start, len(ids))
	}
	for id := range p.sampling.bias {
		if id < 0 || int(id) >= s.config.VocabSize {
			return nil, 0, invalid("logit_bias must has keys in [0, %d], got %d.", s.config.VocabSize-1, id)
		}
	}
	for _, id := range p.logprobs.IDs {
		if id < 0 || int(id) >= s.config.VocabSize {
			return nil, 0, invalid("token_ids_logprob contains out-of-vocabulary token id %d; valid range is [0, %d).", id, s.config.VocabSize)
		}
	}
	most, err = s.room(&p.sampling, len(ids))
	return ids, most, err
}

// encode turns text into ids. A text that is too long by its bytes alone is refused before it takes time to encode; one that
// is to be cut has to be encoded whole, since what follows the cut can change the tokens before it.
func (s *Server) encode(text string, addSpecial bool) ([]int32, error) {
	if most := s.tokenizer.MostBytes(); most > 0 && !s.config.AllowAutoTruncate {
		if least := (len(text) + most - 1) / most; least >= s.config.ContextLength {
			return nil, invalid("The input (at least %d tokens) is longer than the model's context length (%d tokens).", least, s.config.ContextLength)
		}
	}
	return s.tokenizer.Encode(text, addSpecial), nil
}

// room is how many tokens may follow a prompt of n tokens. Only a number that the client named is refused when it
// does not fit; the default is cut.
func (s *Server) room(p *sampling, n int) (int, error) {
	context, most := s.config.ContextLength, p.maxNewTokens
	if p.maxGiven && n+most > context && !s.config.AllowAutoTruncate {
		return 0, invalid("Requested token count exceeds the model's maximum context length of %d tokens. You requested a total of %d tokens: %d tokens from the input messages and %d tokens for the completion. Please reduce the number of tokens in the input messages or the completion to fit within the limit.",
			context, n+most, n, most)
	}
	if p.maxGiven && !s.config.AllowAutoTruncate {
		return most, nil
	}
	// The engine explains itself when not even one token fits into the pool.
	left := max(1, min(context, s.engine.Stats().TotalTokens)-n)
	if p.toContextEnd {
		return left, nil
	}
	return min(most, left), nil
}

// narrow checks ids against the vocabulary.
func (s *Server) narrow(wide []int64) ([]int32, error) {
	ids := make([]int32, len(wide))
	for i, id := range wide {
		if id < 0 || id >= int64(s.config.VocabSize) {
			return nil, invalid("The input_ids [..., %d, ...] contains values greater than the vocab size (%d). Position %d must be in [0, %d].", id, s.config.VocabSize, i, s.config.VocabSize-1)
		}
		ids[i] = int32(id)
	}
	return ids, nil
}

// checkAdapters refuses an empty name in a list, which the engine would take for the base model.
func (s *Server) checkAdapters(g *generation) error {
	for _, p := range g.prompts {
		if p.adapter != nil && *p.adapter == "" {
			return lora.Unknown("", s.adapterNames())
		}
	}
	return nil
}

func (s *Server) adapterNames() []string {
	var names []string
	for _, a := range s.engine.Adapters() {
		names = append(names, a.Name)
	}
	return names
}

// adapterMap is name to path, as load and unload report it.
func (s *Server) adapterMap() map[string]string {
	paths := map[string]string{}
	for _, a := range s.engine.Adapters() {
		paths[a.Name] = a.Path
	}
	return paths
}
