package server

import (
	"time"

	"lorikeet/server/engine"
)

// answer collects what the engine reports about one sequence and says when it has ended.
type answer struct {
	id         string
	number     int    // of the request's answers
	index      *int   // number, in streams of several answers
	asked      string // the prompt, where it came as text
	prompt     []int32
	sampling   *sampling
	logprobs   engine.Logprobs
	promptIDs  bool               // echo the prompt's ids
	tokenText  func(int32) string // nil: logprobs carry no text
	tokenBytes func(int32) []byte
	received   time.Time
	newest     time.Time // when the last tokens came; for metrics
	told       told      // in a stream of news

	decoder     Decoder
	stopper     stopper
	unseenStops map[int32]string // stop strings that are tokens without text
	text        []byte
	ids         []int32
	scores      []engine.Token // prompt tokens after logprobs.Start
	tokens      []engine.Token // with logprobs only
	cached      int
	finish      *finishReason
	elapsed     time.Duration
	sent        time.Time
}

// finishReason is meta_info.finish_reason; which fields it has depends on Type.
type finishReason struct {
	Type    string `json:"type"`
	Matched any    `json:"matched,omitempty"` // stop: a token id or a string
	Length  *int   `json:"length,omitempty"`
	*abortReason
}

type abortReason struct {
	Message    string  `json:"message"`
	StatusCode *int    `json:"status_code"`
	ErrType    *string `json:"err_type"`
}

// add takes an update. It fails when the engine gave the sequence up for a reason of its own. After the sequence has
// finished, by the engine or by a stop string, nothing more is added.
func (a *answer) add(u engine.Update) error {
	if u.Prompt != nil {
		a.scores = u.Prompt
	}
	a.cached = max(a.cached, u.CachedTokens)
	for i, t := range u.Tokens {
		last := u.Finish != nil && i == len(u.Tokens)-1
		stopToken := last && u.Finish.Reason == engine.FinishStop && t.ID == u.Finish.MatchedToken
		if a.addToken(t, stopToken); a.finish != nil {
			return nil
		}
	}
	if u.Finish == nil {
		return nil
	}
	return a.end(u.Finish)
}

// addToken takes one token and finishes the answer if its text completes a stop string. A token that ended the
// sequence is in the ids and, unless asked for, not in the text.
func (a *answer) addToken(t engine.Token, stopToken bool) {
	a.ids = append(a.ids, t.ID)
	if a.logprobs.Return {
		a.tokens = append(a.tokens, t)
	}
	if stopToken && !a.sampling.noStopTrim {
		return
	}
	a.addText(a.decoder.Push(t.ID))
}

func (a *answer) addText(piece string) {
	// A stop string that ends in piece begins at most this far before it; the rest was searched before.
	from := max(0, len(a.text)-a.stopper.longest+1)
	a.text = append(a.text, piece...)
	if piece == "" || len(a.stopper.stops) == 0 {
		return
	}
	if stop, at := a.stopper.find(string(a.text[from:])); at >= 0 {
		if !a.sampling.noStopTrim {
			a.text = a.text[:from+at]
		}
		a.close(&finishReason{Type: engine.FinishStop, Matched: stop})
	}
}

// end finishes the answer as the engine says.
func (a *answer) end(f *engine.Finish) error {
	// What the decoder held back may complete a stop string, which then is the reason.
	if a.addText(a.decoder.Flush()); a.finish != nil {
		return nil
	}
	switch f.Reason {
	case engine.FinishStop:
		matched := any(f.MatchedToken)
		if stop, ok := a.unseenStops[f.MatchedToken]; ok {
			matched = stop
		}
		a.close(&finishReason{Type: f.Reason, Matched: matched})
	case engine.FinishAbort:
		if f.Status != 0 {
			return &abortError{status: f.Status, message: f.Message}
		}
		a.close(&finishReason{Type: f.Reason, abortReason: &abortReason{Message: f.Message}})
	default:
		length := len(a.ids)
		a.close(&finishReason{Type: f.Reason, Length: &length})
	}
	return nil
}

func (a *answer) close(f *finishReason) {
	a.finish, a.sent = f, time.Now()
	a.elapsed = a.sent.Sub(a.received)
}

// visible is the text that no later token can take back.
func (a *answer) visible() string { return a.visibleFrom(0) }

// visibleFrom is the visible text without so many bytes of it.
func (a *answer) visibleFrom(bytes int) string {
	end := len(a.text)
	if a.finish == nil && !a.sampling.noStopTrim {
		tail := max(0, end-max(0, a.stopper.longest-1)) // where a stop string can begin
		end = tail + a.stopper.safe(string(a.text[tail:]))
	}
	return string(a.text[bytes:end])
}
