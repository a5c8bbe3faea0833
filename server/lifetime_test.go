package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/server/engine"
)

// pacedModel says the letter a at every place, a millisecond a step, until it is told to fail.
type pacedModel struct {
	limits  model.Limits
	pages   *model.Pages
	steps   [2]model.Step
	outputs map[*model.Step][]model.Output
	turn    int
	fail    atomic.Bool
}

func newPacedModel() *pacedModel {
	limits := model.Limits{Rows: 64, Lanes: 4, Logits: 64, Pages: 1 << 14, Context: 1 << 17}
	return &pacedModel{limits: limits, pages: model.NewPages(limits.Pages, limits.Pages), outputs: map[*model.Step][]model.Output{}}
}

func (m *pacedModel) Limits() model.Limits { return m.limits }
func (m *pacedModel) Pages() *model.Pages  { return m.pages }

func (m *pacedModel) Launch(b *model.Batch) (*model.Step, error) {
	s := &m.steps[m.turn]
	m.turn = 1 - m.turn
	m.outputs[s] = nil
	for _, run := range b.Runs {
		if run.Sample != nil {
			m.outputs[s] = append(m.outputs[s], model.Output{Token: 'a', Logprob: -1})
		}
	}
	return s, nil
}

func (m *pacedModel) Collect(s *model.Step, out []model.Output) ([]model.Output, error) {
	time.Sleep(time.Millisecond)
	if m.fail.Load() {
		return out, errors.New("device lost")
	}
	return append(out, m.outputs[s]...), nil
}

// roomySlots has a slot for every adapter and counts its pins.
type roomySlots struct{ pins int }

func (s *roomySlots) Place(a *lora.Adapter, _ uint64) (int, error) { return int(a.ID), nil }
func (s *roomySlots) Pin(int)                                      { s.pins++ }
func (s *roomySlots) Unpin(int)                                    { s.pins-- }
func (s *roomySlots) Rank(int) int                                 { return 8 }
func (s *roomySlots) Idle() (uint64, bool)                         { return 0, false }
func (s *roomySlots) EvictIdle()                                   {}
func (s *roomySlots) Evicted() uint64                              { return 0 }
func (s *roomySlots) AwaitUpload() (bool, error)                   { return false, nil }
func (s *roomySlots) Drop(uint64)                                  {}
func (s *roomySlots) Pages() int                                   { return 0 }
func (s *roomySlots) Resident() int                                { return 0 }

func (s *roomySlots) Check() error {
	if s.pins != 0 {
		return fmt.Errorf("%d pins", s.pins)
	}
	return nil
}

// wholeEngine is a real engine as the server sees it.
type wholeEngine struct{ *engine.Engine }

func (e wholeEngine) Submit(ctx context.Context, requests []engine.Request) ([]Stream, error) {
	streams, err := e.Engine.Submit(ctx, requests)
	var all []Stream
	for _, s := range streams {
		all = append(all, s)
	}
	return all, err
}

func (e wholeEngine) Adapters() []Adapter {
	var all []Adapter
	for _, l := range e.Engine.Adapters() {
		all = append(all, Adapter{Name: l.Name, Path: l.Path})
	}
	return all
}

// whole is a server with everything but a device: registry, engine and HTTP.
type whole struct {
	rig
	model    *pacedModel
	registry *lora.Registry
	slots    *roomySlots
}

func newWhole(t *testing.T, maxWaiting int) *whole {
	w := &whole{model: newPacedModel(), slots: new(roomySlots)}
	var id atomic.Uint64
	w.registry = lora.NewRegistry(func(name, path string) (*lora.Adapter, error) {
		return &lora.Adapter{Name: name, Path: path, ID: id.Add(1), Rank: 8}, nil
	}, 4, 0)
	require.NoError(t, w.registry.Load(t.Context(), "one", "/one", false))
	require.NoError(t, w.registry.Load(t.Context(), "two", "/two", false))
	e := engine.New(engine.Config{Overlap: true, Vocab: fakeVocab, MaxWaiting: maxWaiting}, w.model, w.registry, w.slots)
	s := New(Config{
		ModelPath: "m", ContextLength: w.model.limits.Context, VocabSize: fakeVocab, EnableLoRA: true, Logger: slog.New(slog.DiscardHandler),
	}, wholeEngine{e}, byteTokenizer{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.rig = rig{t: t, server: s, url: "http://" + l.Addr().String()}
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = e.Run(ctx) })
	group.Go(func() { _ = Serve(ctx, l, s, time.Second) })
	t.Cleanup(func() {
		stop()
		group.Wait()
		require.NoError(t, w.slots.Check())
	})
	return w
}

// users is how many requests hold an adapter.
func (w *whole) users() int {
	n := 0
	for _, l := range w.registry.List() {
		n += l.Users
	}
	return n
}

// long is a request for more tokens than any test waits for.
func long(more string) string {
	return fmt.Sprintf(`{"text":["x","y"],"lora_path":["one","two"],"rid":"long","sampling_params":{"max_new_tokens":100000}%s}`, more)
}

// begin sends a request and waits until its first token has come.
func (w *whole) begin(ctx context.Context, body string) *http.Response {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/generate", strings.NewReader(body))
	require.NoError(w.t, err)
	res, err := http.DefaultClient.Do(r)
	require.NoError(w.t, err)
	_, err = bufio.NewReader(res.Body).ReadString('\n')
	require.NoError(w.t, err)
	return res
}

// TestAdaptersAreLetGo ends requests in every way there is. However it was, no adapter is held afterwards, and unloading it
// does not wait.
func TestAdaptersAreLetGo(t *testing.T) {
	const short = `{"text":["x","y"],"lora_path":["one","two"],"sampling_params":{"max_new_tokens":3}%s}`
	for name, end := range map[string]func(w *whole){
		"an answer": func(w *whole) {
			status, _ := w.post(fmt.Sprintf(short, ""))
			require.Equal(w.t, 200, status)
		},
		"a stream": func(w *whole) { w.stream(fmt.Sprintf(short, `,"stream":true`)) },
		"a stop string": func(w *whole) {
			status, _ := w.post(`{"text":"x","lora_path":"one","sampling_params":{"max_new_tokens":100000,"stop":"aa"}}`)
			require.Equal(w.t, 200, status)
		},
		"another adapter is unknown": func(w *whole) {
			require.Contains(w.t, w.refused(`{"text":["x","y"],"lora_path":["one","three"]}`), "never been loaded: three")
		},
		"a bad prompt beside a good one": func(w *whole) {
			require.Contains(w.t, w.refused(`{"input_ids":[[1],[999]],"lora_path":["one","two"]}`), "vocab")
		},
		"too much for the engine": func(w *whole) {
			text := strings.Repeat("x", w.model.limits.Context/2)
			require.Contains(w.t, w.refused(`{"text":"`+text+`","lora_path":"one","sampling_params":{"max_new_tokens":100000}}`), "maximum context length")
		},
		"more than may wait": func(w *whole) {
			require.Contains(w.t, w.refused(`{"text":"x","lora_path":"one","sampling_params":{"n":9}}`), "at most 8 may wait")
		},
		"an abort": func(w *whole) {
			answered := make(chan int, 1)
			go func() {
				status, _ := w.post(long(""))
				answered <- status
			}()
			require.Eventually(w.t, func() bool { return w.flying("long_1") }, time.Minute, time.Millisecond)
			status, _ := w.do(http.MethodPost, "/abort_request", `{"rid":"long"}`)
			require.Equal(w.t, 200, status)
			require.Equal(w.t, 200, <-answered)
		},
		"a client that leaves before the first byte": func(w *whole) {
			ctx, leave := context.WithCancel(context.Background())
			left := make(chan struct{})
			go func() {
				defer close(left)
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/generate", strings.NewReader(long("")))
				if err == nil {
					_, err = http.DefaultClient.Do(r)
				}
				if !errors.Is(err, context.Canceled) {
					w.t.Errorf("left with %v", err)
				}
			}()
			require.Eventually(w.t, func() bool { return w.users() == 2 }, time.Minute, time.Millisecond)
			leave()
			<-left
		},
		"a client that leaves a stream": func(w *whole) {
			ctx, leave := context.WithCancel(context.Background())
			res := w.begin(ctx, long(`,"stream":true`))
			require.Equal(w.t, 2, w.users())
			leave()
			res.Body.Close()
		},
		"the device": func(w *whole) {
			res := w.begin(context.Background(), long(`,"stream":true`))
			require.Equal(w.t, 2, w.users())
			w.model.fail.Store(true)
			rest, err := io.ReadAll(res.Body)
			require.NoError(w.t, err)
			require.Contains(w.t, string(rest), "device lost")
			res.Body.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWhole(t, 8)
			end(w)
			require.Eventually(t, func() bool { return w.users() == 0 }, time.Minute, time.Millisecond)
			for _, adapter := range []string{"one", "two"} {
				status, text := w.do(http.MethodPost, "/unload_lora_adapter", `{"lora_name":"`+adapter+`"}`)
				require.Equal(t, 200, status, text)
			}
		})
	}
}

// TestUnloadWhileManyWait unloads an adapter that runs in every lane and for which more requests wait than there are lanes.
// It ends with the last of them, and the name can be asked for meanwhile.
func TestUnloadWhileManyWait(t *testing.T) {
	w := newWhole(t, 1000)
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			status, _ := w.post(`{"text":"x","lora_path":"one","sampling_params":{"max_new_tokens":5}}`)
			if status != 200 {
				t.Errorf("status %d", status)
			}
		})
	}
	require.Eventually(t, func() bool { return w.users() > 0 }, time.Minute, time.Millisecond)
	status, text := w.do(http.MethodPost, "/unload_lora_adapter", `{"lora_name":"one"}`)
	require.Equal(t, 200, status, text)
	group.Wait()
	status, _ = w.post(`{"text":"x","lora_path":"one","sampling_params":{"max_new_tokens":1}}`)
	require.Equal(t, 200, status)
	require.Eventually(t, func() bool { return w.users() == 0 }, time.Minute, time.Millisecond)
}
