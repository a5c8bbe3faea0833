package main

import (
	"context"
	"fmt"
	"slices"
)

// solos are the answers that each prompt gets under each folder when nothing else runs.
type solos struct {
	rounding float64
	answers  map[soloKey]solo
}

// soloKey is a prompt and a folder by number; the folder may be base.
type soloKey struct{ prompt, folder int }

// solo is an answer as far as it is certain.
type solo struct{ ids []int32 }

// soloName is under which a folder is loaded to be asked alone.
const soloName = "solo"

// askSolos asks for the answer to every prompt under the base and every folder, one after the other. Two tokens whose
// log probabilities differ by less than rounding may change places in other company, and what follows with them: an
// answer is certain up to the first such place.
func askSolos(ctx context.Context, c *client, prompts [][]int32, folders []string, tokens int, rounding float64) (*solos, error) {
	s := &solos{rounding: rounding, answers: map[soloKey]solo{}}
	if err := s.ask(ctx, c, prompts, base, question{tokens: tokens}); err != nil {
		return nil, err
	}
	for folder, path := range folders {
		if err := c.load(ctx, soloName, path); err != nil {
			return nil, err
		}
		if err := s.ask(ctx, c, prompts, folder, question{tokens: tokens, adapter: soloName}); err != nil {
			return nil, err
		}
		if err := c.unload(ctx, soloName); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// ask asks for the answer to every prompt under one folder.
func (s *solos) ask(ctx context.Context, c *client, prompts [][]int32, folder int, q question) error {
	q.top = 2
	for prompt, ids := range prompts {
		q.prompt = ids
		a, err := c.generate(ctx, q, nil, nil)
		if err == nil && (len(a.ids) != q.tokens || len(a.top) != q.tokens) {
			err = fmt.Errorf("%d tokens, %d with log probabilities, expected %d", len(a.ids), len(a.top), q.tokens)
		}
		if err != nil {
			return fmt.Errorf("prompt %d alone under folder %d: %w", prompt, folder, err)
		}
		s.answers[soloKey{prompt, folder}] = solo{a.ids[:certain(a.top, s.rounding)]}
	}
	return nil
}

// certain counts the tokens before the first whose lead over the second best is less than rounding.
func certain(top [][]scored, rounding float64) int {
	for i, best := range top {
		if len(best) < 2 || best[0].logprob-best[1].logprob < rounding {
			return i
		}
	}
	return len(top)
}

// right says whether ids, which may be only the beginning of an answer, are what one of the folders answers alone.
func (s *solos) right(ids []int32, prompt int, folders []int) bool {
	return slices.ContainsFunc(folders, func(folder int) bool {
		want := s.answers[soloKey{prompt, folder}].ids
		n := min(len(ids), len(want))
		return slices.Equal(ids[:n], want[:n])
	})
}

// share is how much of the answers is certain.
func (s *solos) share(tokens int) float64 {
	n := 0
	for _, a := range s.answers {
		n += len(a.ids)
	}
	return float64(n) / float64(tokens*len(s.answers))
}
