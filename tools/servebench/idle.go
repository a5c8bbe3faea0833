package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// idleState is what /server_info says of who holds what.
type idleState struct {
	Running int `json:"num_running_reqs"`
	Waiting int `json:"num_queue_reqs"`
	InUse   int `json:"num_adapters_in_use"` // adapters that a request refers to
	Pages   struct {
		Running  int `json:"running"`
		Cached   int `json:"cached"`
		Adapters int `json:"adapters"`
		Free     int `json:"free"`
	} `json:"pages"`
	Memory struct {
		Tokens int `json:"token_capacity"`
	} `json:"memory_usage"`
}

// pageTokens is the number of tokens in a page.
const pageTokens = 16

// leaked is how many pages belong to nobody who may have them when nothing runs.
func (s *idleState) leaked() int {
	return s.Memory.Tokens/pageTokens - s.Pages.Cached - s.Pages.Adapters - s.Pages.Free
}

// String is one line of a report.
func (s *idleState) String() string {
	return fmt.Sprintf("at rest: %d running, %d waiting, %d adapters in use; of %d pages %d free, %d of prefixes, %d of adapters, %d leaked",
		s.Running, s.Waiting, s.InUse, s.Memory.Tokens/pageTokens, s.Pages.Free, s.Pages.Cached, s.Pages.Adapters, s.leaked())
}

// idlePoll is how often a server that still works is asked again.
const idlePoll = 20 * time.Millisecond

// awaitIdle waits until the server runs nothing; a client that left may have left work behind for a step.
func awaitIdle(ctx context.Context, c *client) (*idleState, error) {
	for {
		var info struct {
			States []idleState `json:"internal_states"`
		}
		if err := c.call(ctx, "/server_info", nil, &info); err != nil {
			return nil, err
		}
		if len(info.States) != 1 {
			return nil, fmt.Errorf("/server_info has %d internal_states, expected 1", len(info.States))
		}
		state := &info.States[0]
		if state.Running == 0 && state.Waiting == 0 && state.InUse == 0 {
			return state, nil
		}
		select {
		case <-time.After(idlePoll):
		case <-ctx.Done():
			return nil, fmt.Errorf("the server does not come to rest: %s: %w", state, context.Cause(ctx))
		}
	}
}

// awaitReady waits until the server answers that it is well, and says how long that took.
func awaitReady(ctx context.Context, c *client, atMost time.Duration, w io.Writer) error {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	for {
		response, err := c.send(ctx, "/health", nil)
		if err == nil {
			response.Body.Close()
			_, err = fmt.Fprintf(w, "ready after %.2f s\n", time.Since(begin).Seconds())
			return err
		}
		select {
		case <-time.After(idlePoll):
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready after %v: %w", atMost, err)
		}
	}
}
