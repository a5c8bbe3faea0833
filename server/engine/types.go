package engine

import (
	"errors"
	"time"

	"lorikeet/model"
)

// ErrBusy says the engine cannot take the work now: the queue is full, or a flush met running requests.
var ErrBusy = errors.New("engine: busy")

// ErrStopped says the engine runs no more requests: it is shutting down, or its device failed.
var ErrStopped = errors.New("engine: stopped")

// Why a sequence ended.
const (
	FinishStop   = "stop"
	FinishLength = "length"
	FinishAbort  = "abort"
)

// What Finish.Status is for aborts that the client did not ask for; the numbers are HTTP's.
const (
	StatusFailed      = 500 // the engine or its device failed
	StatusUnavailable = 503 // the request could not be run now
)

// Request is one prompt to be continued.
type Request struct {
	ID      string
	Prompt  []int32 // token ids, at least one
	Adapter string  // registered name; "" is the base model
	// Namespace keeps cached prefixes apart: a request finds those of its own
	// namespace only.
	Namespace string
	Priority  int // higher ones start first, and are preempted last
	Sampling  Sampling
	Logprobs  Logprobs
}

// Sampling says how tokens are drawn and when a sequence ends.
type Sampling struct {
	MaxNewTokens int
	Temperature  float32 // 0 takes the most likely token
	TopK         int     // 0 keeps all
	TopP         float32 // in (0, 1]; 1 keeps all
	MinP         float32 // in [0, 1]; 0 keeps all
	Seed         uint64
	StopTokens   []int32 // ascending
	IgnoreEOS    bool

	MinNewTokens      int               // until then no stop token and no end token is drawn
	FrequencyPenalty  float32           // is taken off a token's logit for each time that the answer has it
	PresencePenalty   float32           // and once, if it has it
	RepetitionPenalty float32           // divides positive logits of what prompt or answer have, and multiplies others; 0 is 1
	Bias              map[int32]float32 // is added to logits
}

// PageTokens is how many tokens a page of the pool holds.
const PageTokens = model.PageTokens

// MaxTopLogprobs is the most that Logprobs.Top may be.
const MaxTopLogprobs = model.MaxTop

// Logprobs says which log probabilities a request wants beside its tokens.
type Logprobs struct {
	Return bool
	Start  int     // prompt position from which prompt logprobs are wanted; -1 none
	Top    int     // how many of the most likely tokens to report at each position
	IDs    []int32 // tokens to report at each position
}

// TokenLogprob is a token and its natural-log probability.
type TokenLogprob = model.TokenLogprob

// Token is one position of a sequence with what was asked about it.
type Token struct {
	ID      int32
	Logprob float32
	Top     []TokenLogprob // descending
	IDs     []TokenLogprob // in the order asked
}

// Finish says why a sequence ended.
type Finish struct {
	Reason       string // "stop", "length" or "abort"
	MatchedToken int32  // the stop token, for "stop"
	Message      string // for "abort"
	Status       int    // for "abort": StatusFailed or StatusUnavailable, 0 when a client asked for it
}

// Update is what happened to a sequence since the last one.
type Update struct {
	Tokens       []Token       // new tokens
	Prompt       []Token       // the prompt's tokens after Logprobs.Start, once, with the first token
	CachedTokens int           // prompt tokens whose keys and values were in memory when the request started; told once
	Waited       time.Duration // from the request's submission to its start; told once
	Finish       *Finish       // non-nil in the last update
}
