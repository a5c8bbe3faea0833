package engine

import (
	"fmt"

	"lorikeet/model"
)

// RequestError says what is wrong with a request: the client's fault.
type RequestError struct{ Message string }

func (e *RequestError) Error() string { return e.Message }

func wrong(format string, args ...any) error {
	return &RequestError{Message: fmt.Sprintf(format, args...)}
}

// validate checks what would otherwise fail on the device. Wording follows
// SGLang where it has words for it.
func (e *Engine) validate(r *Request) error {
	n, most := len(r.Prompt), r.Sampling.MaxNewTokens
	switch {
	case n == 0:
		return wrong("input_ids cannot be empty.")
	case n >= e.limits.Context:
		return wrong("The input (%d tokens) is longer than the model's context length (%d tokens).", n, e.limits.Context)
	case most < 0:
		return wrong("max_new_tokens must be at least 0, got %d.", most)
	case n+most > e.limits.Context:
		return wrong("Requested token count exceeds the model's maximum context length of %d tokens. You requested a total of %d tokens: %d tokens from the input messages and %d tokens for the completion. Please reduce the number of tokens in the input messages or the completion to fit within the limit.",
			e.limits.Context, n+most, n, most)
	case model.PagesFor(r.tokens()) > e.limits.Pages:
		return wrong("%d tokens of prompt and %d of completion need %d KV pages; the server has %d. Start it with a larger --max-total-tokens.",
			n, most, model.PagesFor(r.tokens()), e.limits.Pages)
	case r.Logprobs.Top > MaxTopLogprobs:
		return wrong("top_logprobs_num must be at most %d, got %d.", MaxTopLogprobs, r.Logprobs.Top)
	case len(r.Logprobs.IDs) > model.MaxLogprobIDs:
		return wrong("token_ids_logprob may name at most %d tokens, got %d.", model.MaxLogprobIDs, len(r.Logprobs.IDs))
	}
	for _, id := range r.Prompt {
		if id < 0 || int(id) >= e.config.Vocab {
			return wrong("The input_ids contain %d, which is outside the vocabulary; valid range is [0, %d).", id, e.config.Vocab)
		}
	}
	for _, id := range r.Logprobs.IDs {
		if id < 0 || int(id) >= e.config.Vocab {
			return wrong("token_ids_logprob contains out-of-vocabulary token id %d; valid range is [0, %d).", id, e.config.Vocab)
		}
	}
	if r.Sampling.forbidsAll(e.config.EndTokens, e.config.Vocab) {
		return wrong("min_new_tokens cannot be reached: stop_token_ids name the whole vocabulary.")
	}
	for id := range r.Sampling.Bias {
		if id < 0 || int(id) >= e.config.Vocab {
			return wrong("logit_bias must has keys in [0, %d], got %d.", e.config.Vocab-1, id)
		}
	}
	return nil
}

// tokens is the most that a request ever keeps in the cache. The last token is
// sampled but never fed back.
func (r *Request) tokens() int { return len(r.Prompt) + max(0, r.Sampling.MaxNewTokens-1) }
