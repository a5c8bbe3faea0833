package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"lorikeet/lora"
	"lorikeet/server/engine"
)

// fakeEngine answers a request with the tokens of script, or with its prompt repeated.
type fakeEngine struct {
	mu        sync.Mutex
	submitted []engine.Request
	streams   []*fakeStream
	adapters  []Adapter
	gone      []string                               // names whose adapter would be loaded again
	script    func(r engine.Request) []engine.Update // nil: echo
	submitErr error
	loadErr   error
	flushErr  error
	readyErr  error
	panics    bool
	busy      bool // others get a token whenever somebody looks
	delivered uint64
	late      time.Duration // after which every stream ends; 0 is never
}

type fakeStream struct {
	updates   chan engine.Update
	cancelled chan struct{}
	once      sync.Once
}

func (s *fakeStream) Next(ctx context.Context) (engine.Update, error) {
	select {
	case u := <-s.updates:
		return u, nil
	default:
	}
	select {
	case u := <-s.updates:
		return u, nil
	case <-s.cancelled:
		return engine.Update{Finish: &engine.Finish{Reason: engine.FinishAbort, Message: "Aborted"}}, nil
	case <-ctx.Done():
		return engine.Update{}, context.Cause(ctx)
	}
}

func (s *fakeStream) Cancel() { s.once.Do(func() { close(s.cancelled) }) }

func (e *fakeEngine) Submit(ctx context.Context, requests []engine.Request) ([]Stream, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.panics {
		panic("a bug")
	}
	if e.submitErr != nil {
		return nil, e.submitErr
	}
	var streams []Stream
	for _, r := range requests {
		script := e.script
		if script == nil {
			script = echo
		}
		updates := script(r)
		s := &fakeStream{updates: make(chan engine.Update, len(updates)+1), cancelled: make(chan struct{})}
		for _, u := range updates {
			s.updates <- u
		}
		if e.late > 0 {
			time.AfterFunc(e.late, func() { s.updates <- engine.Update{Finish: &engine.Finish{Reason: engine.FinishLength}} })
		}
		context.AfterFunc(ctx, s.Cancel)
		e.submitted = append(e.submitted, r)
		e.streams = append(e.streams, s)
		streams = append(streams, s)
	}
	return streams, nil
}

// echo answers with the prompt, one token in each update, up to the limit.
func echo(r engine.Request) []engine.Update {
	var ids []int32
	for i := range r.Sampling.MaxNewTokens {
		ids = append(ids, r.Prompt[i%len(r.Prompt)])
	}
	return says(ids, engine.Finish{Reason: engine.FinishLength})
}

// says is one update for each token, the last with a finish.
func says(ids []int32, f engine.Finish) []engine.Update {
	var updates []engine.Update
	for i, id := range ids {
		t := engine.Token{ID: id, Logprob: -float32(i) - 0.5}
		updates = append(updates, engine.Update{Tokens: []engine.Token{t}})
	}
	if len(updates) == 0 {
		updates = append(updates, engine.Update{})
	}
	updates[len(updates)-1].Finish = &f
	return updates
}

func (e *fakeEngine) LoadAdapter(_ context.Context, name, path string, _ bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.loadErr == nil {
		e.adapters = append(e.adapters, Adapter{Name: name, Path: path})
	}
	return e.loadErr
}

func (e *fakeEngine) ReplaceAdapter(ctx context.Context, name, path string, pinned bool) error {
	if err := e.UnloadAdapter(ctx, name); err != nil {
		return err
	}
	return e.LoadAdapter(ctx, name, path, pinned)
}

func (e *fakeEngine) UnloadAdapter(_ context.Context, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, a := range e.adapters {
		if a.Name == name {
			e.adapters = append(e.adapters[:i:i], e.adapters[i+1:]...)
			return nil
		}
	}
	return e.loadErr
}

func (e *fakeEngine) Adapters() []Adapter {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.adapters
}

func (e *fakeEngine) KnowsAdapter(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Contains(e.gone, name) || slices.ContainsFunc(e.adapters, func(a Adapter) bool { return a.Name == name })
}

func (e *fakeEngine) Flush() error { return e.flushErr }
func (e *fakeEngine) Ready() error { return e.readyErr }
func (e *fakeEngine) Stats() engine.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy {
		e.delivered++
	}
	return engine.Stats{
		Running: 2, Waiting: 3, Retracted: 1, MaxRunning: 32, StepTokens: 128, PendingTokens: 40, PromptTokens: 90, CachedTokens: 16, UsedTokens: 1024, TotalTokens: 4096, Pages: engine.Holdings{Running: 64, Cached: 7, Free: 185},
		ResidentAdapters: 2, HostAdapters: lora.Held{Adapters: 2, Bytes: 700, InUse: 1}, NewTokens: e.delivered,
	}
}

// last is the most recent request.
func (e *fakeEngine) last(t *testing.T) engine.Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	require.NotEmpty(t, e.submitted)
	return e.submitted[len(e.submitted)-1]
}

// byteTokenizer has one token for each byte; bytes above 0xf7, which UTF-8 never uses, are special.
type byteTokenizer struct{}

const fakeVocab = 256

func (byteTokenizer) Encode(text string, _ bool) []int32 {
	if text == "<special>" {
		return []int32{0xff}
	}
	var ids []int32
	for i := range len(text) {
		ids = append(ids, int32(text[i]))
	}
	return ids
}

func (byteTokenizer) MostBytes() int { return 4 }

func (byteTokenizer) Bytes(id int32) []byte {
	if id >= 0xf8 {
		return []byte("<special>")
	}
	return []byte{byte(id)}
}

func (byteTokenizer) Decode(ids []int32, skipSpecial bool) string {
	d := byteTokenizer{}.NewDecoder(skipSpecial)
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(d.Push(id))
	}
	return b.String() + d.Flush()
}

func (byteTokenizer) NewDecoder(skipSpecial bool) Decoder { return &byteDecoder{skip: skipSpecial} }

type byteDecoder struct {
	skip bool
	held []byte
}

func (d *byteDecoder) Push(id int32) string {
	if id >= 0xf8 {
		if d.skip {
			return ""
		}
		return "<special>"
	}
	d.held = append(d.held, byte(id))
	if !utf8.FullRune(d.held) {
		return ""
	}
	text := string(d.held)
	d.held = nil
	return text
}

func (d *byteDecoder) Flush() string {
	if len(d.held) == 0 {
		return ""
	}
	return "\ufffd"
}

const fakeContext = 200

// rig is a server with a fake engine on a real listener.
type rig struct {
	t      *testing.T
	engine *fakeEngine
	server *Server
	url    string
	log    *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	log := new(syncBuffer)
	config := Config{
		ModelPath: "meta-llama/demo", TokenizerPath: "meta-llama/demo", ModelType: "llama", Architectures: []string{"LlamaForCausalLM"},
		ContextLength: fakeContext, VocabSize: fakeVocab, EnableLoRA: true, AdapterSlots: 8, Version: "test",
		Arguments: map[string]any{"tp_size": 1}, MaxBodyBytes: 1 << 16,
		Logger: slog.New(slog.NewJSONHandler(log, nil)),
	}
	for _, f := range change {
		f(&config)
	}
	e := &fakeEngine{adapters: []Adapter{{"lora0", "/adapters/zero"}, {"lora1", "/adapters/one"}}}
	s := New(config, e, byteTokenizer{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, s, time.Second) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return &rig{t: t, engine: e, server: s, url: "http://" + l.Addr().String(), log: log}
}

// do sends a request and returns the status and the body.
func (r *rig) do(method, path, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	require.NoError(r.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	return res.StatusCode, string(data)
}

// post sends a body to /generate and decodes the answer.
func (r *rig) post(body string) (int, any) {
	r.t.Helper()
	status, text := r.do(http.MethodPost, "/generate", body)
	var v any
	require.NoError(r.t, json.Unmarshal([]byte(text), &v), text)
	return status, v
}

// refused sends a body to /generate that must be refused and returns the message.
func (r *rig) refused(body string) string {
	r.t.Helper()
	status, v := r.post(body)
	require.Equal(r.t, http.StatusBadRequest, status, v)
	o := v.(map[string]any)
	if e, ok := o["error"].(map[string]any); ok {
		return e["message"].(string)
	}
	require.Equal(r.t, "Bad Request", o["type"])
	return o["message"].(string)
}

// get follows keys and indices into decoded JSON.
func get(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			o, ok := v.(map[string]any)
			require.True(t, ok, "%v is not an object", v)
			require.Contains(t, o, step)
			v = o[step]
		case int:
			l, ok := v.([]any)
			require.True(t, ok, "%v is not a list", v)
			require.Greater(t, len(l), step)
			v = l[step]
		}
	}
	return v
}
