package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
)

// client speaks to one server.
type client struct {
	url  string
	http *http.Client
}

// idleConnections is how many connections are kept for the next requests, so that a long run does not use up the ports.
const idleConnections = 1024

func newClient(url string) *client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = idleConnections, idleConnections
	return &client{url: strings.TrimSuffix(url, "/"), http: &http.Client{Transport: transport}}
}

// refusal is an answer with a status other than 200, or an error within a stream, whose code is like a status.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return fmt.Sprintf("status %d: %s", r.status, r.message) }

// busy says whether the server asked to come again later.
func (r *refusal) busy() bool {
	return r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable
}

// call sends a body, nil for GET, and decodes the answer into v.
func (c *client) call(ctx context.Context, path string, body, v any) error {
	response, err := c.send(ctx, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(v)
}

// send returns an answer whose status is 200.
func (c *client) send(ctx context.Context, path string, body any) (*http.Response, error) {
	method, content := http.MethodGet, []byte(nil)
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return nil, err
		}
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		message, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		response.Body.Close()
		return nil, &refusal{response.StatusCode, string(message)}
	}
	return response, nil
}

// load registers an adapter and waits until it is.
func (c *client) load(ctx context.Context, name, path string) error {
	return c.call(ctx, "/load_lora_adapter", map[string]any{"lora_name": name, "lora_path": path}, new(struct{}))
}

// replace gives a name to another adapter in one call.
func (c *client) replace(ctx context.Context, name, path string) error {
	return c.call(ctx, "/load_lora_adapter", map[string]any{"lora_name": name, "lora_path": path, "upsert": true}, new(struct{}))
}

// unload takes an adapter's name away and waits for the requests that use it.
func (c *client) unload(ctx context.Context, name string) error {
	return c.call(ctx, "/unload_lora_adapter", map[string]any{"lora_name": name}, new(struct{}))
}

// registered lists the adapters by name, with the paths they were loaded from.
func (c *client) registered(ctx context.Context) (map[string]string, error) {
	var list struct {
		Data []struct {
			ID     string  `json:"id"`
			Root   string  `json:"root"`
			Parent *string `json:"parent"`
		} `json:"data"`
	}
	if err := c.call(ctx, "/v1/models", nil, &list); err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for _, m := range list.Data {
		if m.Parent != nil {
			paths[m.ID] = m.Root
		}
	}
	return paths, nil
}

// question is one prompt for the model. Its answer has exactly so many tokens, the likeliest each.
type question struct {
	prompt  []int32
	adapter string // "": the base model
	tokens  int
	top     int // likeliest tokens to report at each position; 0: none
}

// generate asks a question as a stream. What is read of the answer is returned with the error that cut it short.
// asked, if any, is called once the request was written, and heard with the number of tokens each time more arrive.
func (c *client) generate(ctx context.Context, q question, asked func(), heard func(tokens int)) (*answer, error) {
	body := map[string]any{
		"input_ids": q.prompt, "stream": true,
		"sampling_params": map[string]any{"max_new_tokens": q.tokens, "temperature": 0, "ignore_eos": true},
	}
	if q.adapter != "" {
		body["lora_path"] = q.adapter
	}
	if q.top > 0 {
		body["return_logprob"], body["top_logprobs_num"] = true, q.top
	}
	if asked != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { asked() }})
	}
	response, err := c.send(ctx, "/generate", body)
	if err != nil {
		return new(answer), err
	}
	defer response.Body.Close()
	return readAnswer(response.Body, heard)
}

// takenAlready knows SGLang's words for a name that a request has had loaded again.
func takenAlready(err error) bool {
	var said *refusal
	return errors.As(err, &said) && said.status == http.StatusBadRequest && strings.Contains(said.message, "already loaded")
}
