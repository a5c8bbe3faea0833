package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// answer is what a stream said, and when.
type answer struct {
	ids     []int32
	arrived []time.Time // of each token
	prompt  int         // tokens of the prompt
	cached  int         // of them, whose keys and values were there already
	top     [][]scored  // the likeliest tokens at each position, if asked for
}

// event is the part of a server-sent event that is read. Lists hold everything so far, or what is new.
type event struct {
	IDs  []int32 `json:"output_ids"`
	Meta struct {
		Finish *struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"finish_reason"`
		Prompt int        `json:"prompt_tokens"`
		Tokens int        `json:"completion_tokens"`
		Cached int        `json:"cached_tokens"`
		Top    [][]scored `json:"output_top_logprobs"`
	} `json:"meta_info"`
	Error *struct {
		Message string `json:"message"`
		Code    int    `json:"code"`
	} `json:"error"`
}

// scored is a token and its log probability, which the server writes as [logprob, id, text].
type scored struct {
	logprob float64
	id      int32
}

// UnmarshalJSON reads [logprob, id, text].
func (s *scored) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&s.logprob, &s.id, new(any)})
}

// maxEvent is the longest line of a stream, which repeats the whole answer in each event.
const maxEvent = 16 << 20

var errCutShort = errors.New("the stream ended before the answer did")

// readAnswer reads a stream to its end. Without an error the answer is whole.
func readAnswer(r io.Reader, heard func(tokens int)) (*answer, error) {
	a := new(answer)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	finished := false
	for lines.Scan() {
		now := time.Now()
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok || string(data) == "[DONE]" {
			continue
		}
		var err error
		if finished, err = a.add(data, now); err != nil {
			return a, err
		}
		if heard != nil {
			heard(len(a.ids))
		}
	}
	if err := lines.Err(); err != nil {
		return a, err
	}
	if !finished {
		return a, errCutShort
	}
	return a, nil
}

// add takes one event, which has all ids so far or, of a server that streams so, those that are new, and says whether it is the last.
func (a *answer) add(data []byte, now time.Time) (finished bool, err error) {
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return false, fmt.Errorf("event %q: %w", data, err)
	}
	if e.Error != nil {
		return false, &refusal{e.Error.Code, e.Error.Message}
	}
	ids, top := e.IDs, e.Meta.Top
	if e.Meta.Tokens > len(ids) {
		ids, top = append(a.ids, ids...), append(a.top, top...)
	}
	if e.Meta.Tokens > len(ids) {
		return false, fmt.Errorf("an answer of %d tokens has %d in its events", e.Meta.Tokens, len(ids))
	}
	for range len(ids) - len(a.ids) {
		a.arrived = append(a.arrived, now)
	}
	a.ids, a.prompt, a.cached, a.top = ids, e.Meta.Prompt, e.Meta.Cached, top
	if e.Meta.Finish != nil && e.Meta.Finish.Type == "abort" {
		return false, fmt.Errorf("aborted: %s", e.Meta.Finish.Message)
	}
	return e.Meta.Finish != nil, nil
}
