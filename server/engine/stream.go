package engine

import (
	"context"
	"sync"
	"time"
)

// Stream carries the results of one request to its reader. The engine never
// waits for a reader: what is not read yet is kept, which is at most the
// request's prompt logprobs and MaxNewTokens tokens.
type Stream struct {
	mu      sync.Mutex
	news    chan struct{} // holds at most one token: something was pushed
	pending Update
	cancel  func()
}

func newStream(cancel func()) *Stream {
	return &Stream{news: make(chan struct{}, 1), cancel: cancel}
}

// Next waits for news and returns everything pushed since the last call. The
// last update of a request carries Finish. When ctx ends first, Next returns
// its error and nothing is lost.
func (s *Stream) Next(ctx context.Context) (Update, error) {
	select {
	case <-s.news:
	case <-ctx.Done():
		return Update{}, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.pending
	s.pending = Update{}
	return u, nil
}

// Cancel stops the request. The stream still ends with a Finish.
func (s *Stream) Cancel() { s.cancel() }

// push adds a token.
func (s *Stream) push(t Token) {
	s.mu.Lock()
	s.pending.Tokens = append(s.pending.Tokens, t)
	s.mu.Unlock()
	s.notify()
}

// pushPrompt adds the prompt's log probabilities; the next push tells of them.
func (s *Stream) pushPrompt(scores []Token) {
	s.mu.Lock()
	s.pending.Prompt = scores
	s.mu.Unlock()
}

// pushStart notes how much of the prompt was in memory, and how long the request
// waited; the next push tells of it.
func (s *Stream) pushStart(cached int, waited time.Duration) {
	s.mu.Lock()
	s.pending.CachedTokens, s.pending.Waited = cached, waited
	s.mu.Unlock()
}

// finish ends the stream.
func (s *Stream) finish(f Finish) {
	s.mu.Lock()
	s.pending.Finish = &f
	s.mu.Unlock()
	s.notify()
}

func (s *Stream) notify() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}
