package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"lorikeet/lora"
	"lorikeet/model"
)

// harness is an engine over the fake model, running until the test ends.
type harness struct {
	*Engine
	fake     *fakeModel
	slots    *fakeSlots
	registry *lora.Registry
	ids      sync.Map // adapter name -> id of its last load
	all      sync.Map // id -> adapter, of every load
	ctx      context.Context
	stop     context.CancelFunc
	done     chan error
}

var testLimits = model.Limits{Rows: 24, Lanes: 4, Logits: 12, Pages: 14, Context: 120}

func start(t *testing.T, overlap bool, limits model.Limits) *harness {
	h := prepare(t, Config{Overlap: overlap}, limits)
	h.run()
	return h
}

// prepare makes an engine that does not run yet.
func prepare(t *testing.T, config Config, limits model.Limits) *harness {
	return prepareWithin(t, config, limits, 0)
}

// prepareWithin is prepare with so many places for adapters in host memory.
func prepareWithin(t *testing.T, config Config, limits model.Limits, maxLoaded int) *harness {
	h := &harness{slots: newFakeSlots(2, limits), done: make(chan error, 1)}
	h.fake = newFakeModel(limits, h.slots)
	var ids uint64
	var mu sync.Mutex
	h.registry = lora.NewRegistry(func(name, path string) (*lora.Adapter, error) {
		mu.Lock()
		defer mu.Unlock()
		ids++
		h.ids.Store(name, ids)
		a := &lora.Adapter{Name: name, Path: path, ID: ids, Rank: 8, Targets: fakeTargets}
		h.all.Store(ids, a)
		return a, nil
	}, 2, maxLoaded)
	config.EndTokens, config.Vocab, config.MaxWaiting = []int32{fakeEOS}, fakeVocab, 1000
	h.Engine = New(config, h.fake, h.registry, h.slots)
	h.ctx, h.stop = context.WithCancel(context.Background())
	t.Cleanup(h.stop)
	return h
}

func (h *harness) run() { go func() { h.done <- h.Run(h.ctx) }() }

// finish stops the engine and checks that nothing is left over.
func (h *harness) finish(t *testing.T) {
	h.balanced(t)
	h.stop()
	require.ErrorIs(t, <-h.done, context.Canceled)
	require.NoError(t, h.check())
	require.Empty(t, h.fake.failures)
	require.Empty(t, h.running)
	require.Empty(t, h.waiting)
}

// balanced checks the engine's books between two turns of its loop.
func (h *harness) balanced(t *testing.T) {
	t.Helper()
	var err error
	h.control(func() { err = h.check() })
	require.NoError(t, err)
}

// collect reads a stream to its end.
func collect(t *testing.T, s *Stream) (tokens []int32, prompt []Token, f Finish) {
	tokens = []int32{}
	for {
		u, err := s.Next(t.Context())
		require.NoError(t, err)
		for _, token := range u.Tokens {
			tokens = append(tokens, token.ID)
		}
		prompt = append(prompt, u.Prompt...)
		if u.Finish != nil {
			return tokens, prompt, *u.Finish
		}
	}
}

// expect is what a request is answered when it runs alone.
func expect(r *Request, adapter uint64) (tokens []int32, f Finish) {
	h := begin(adapter)
	for _, token := range r.Prompt {
		h = h.then(token)
	}
	tokens = []int32{}
	for len(tokens) < r.Sampling.MaxNewTokens {
		next := h.follow(r.Sampling.Seed, len(r.Prompt)+len(tokens))
		h, tokens = h.then(next), append(tokens, next)
		if (next == fakeEOS && !r.Sampling.IgnoreEOS) || slices.Contains(r.Sampling.StopTokens, next) {
			return tokens, Finish{Reason: FinishStop, MatchedToken: next}
		}
	}
	return tokens, Finish{Reason: FinishLength}
}

// stems are what the prompts of random requests begin with.
var stems = func() (stems [3][]int32) {
	for i := range stems {
		for j := range 60 {
			stems[i] = append(stems[i], int32((7*i+3*j*j)%fakeVocab))
		}
	}
	return stems
}()

func randomRequest(r *rand.Rand, names []string) Request {
	q := Request{Sampling: Sampling{MaxNewTokens: r.IntN(30), TopP: 1, Seed: r.Uint64N(3), IgnoreEOS: r.IntN(3) == 0}, Logprobs: Logprobs{Start: -1}}
	stem := stems[r.IntN(len(stems))]
	q.Prompt = append(q.Prompt, stem[:r.IntN(len(stem))]...)
	for range 1 + r.IntN(20) {
		q.Prompt = append(q.Prompt, int32(r.IntN(fakeVocab)))
	}
	q.Priority = r.IntN(2)
	if r.IntN(3) > 0 {
		q.Adapter = names[r.IntN(len(names))]
	}
	if r.IntN(4) == 0 {
		q.Sampling.StopTokens = []int32{int32(r.IntN(fakeVocab)), int32(r.IntN(fakeVocab))}
		slices.Sort(q.Sampling.StopTokens)
	}
	if r.IntN(4) == 0 {
		q.Logprobs = Logprobs{Return: true, Start: r.IntN(len(q.Prompt))}
	}
	return q
}

// TestAnswersDoNotDependOnCompany sends random requests from many goroutines,
// some of which give up, through few lanes, slots and pages, and expects every
// answer to be what the request gets alone: in the overlapped loop and in the
// plain one, with and without the prefix cache, with uploads that take a while,
// and with steps that run as late as they can.
func TestAnswersDoNotDependOnCompany(t *testing.T) {
	for i := range 16 {
		overlap, late, cacheless, delay := i&1 != 0, i&2 != 0, i&4 != 0, i>>3*3
		t.Run(fmt.Sprintf("overlap %v late %v cacheless %v delay %v", overlap, late, cacheless, delay), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			h := prepare(t, Config{Overlap: overlap, NoPrefixCache: cacheless}, testLimits)
			h.fake.late, h.slots.delay = late, delay
			h.run()
			names := []string{"a", "b", "c", "d"}
			for _, name := range names {
				require.NoError(t, h.LoadAdapter(t.Context(), name, "/"+name, false))
			}
			var clients sync.WaitGroup
			for c := range uint64(8) {
				clients.Go(func() {
					r := rand.New(rand.NewPCG(seed, c))
					for range 20 {
						h.client(t, r, names)
					}
				})
			}
			clients.Wait()
			t.Logf("%+v", h.Stats())
			h.finish(t)
		})
	}
}

// client sends one batch of requests and checks its answers; now and then it
// cancels instead.
func (h *harness) client(t *testing.T, r *rand.Rand, names []string) {
	requests := make([]Request, 1+r.IntN(3))
	for i := range requests {
		requests[i] = randomRequest(r, names)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	streams, err := h.Submit(ctx, requests)
	require.NoError(t, err)
	if r.IntN(5) == 0 {
		cancel()
	}
	for i, s := range streams {
		q := &requests[i]
		id := uint64(0)
		if v, ok := h.ids.Load(q.Adapter); ok {
			id = v.(uint64)
		}
		tokens, prompt, got := collect(t, s)
		want, finish := expect(q, id)
		if got.Reason == FinishAbort {
			require.Error(t, ctx.Err())
			require.Equal(t, want[:len(tokens)], tokens)
			continue
		}
		require.Equal(t, want, tokens)
		require.Equal(t, finish, got)
		if q.Logprobs.Return {
			require.Len(t, prompt, len(q.Prompt)-1-q.Logprobs.Start)
			for j, token := range prompt {
				require.Equal(t, q.Prompt[q.Logprobs.Start+1+j], token.ID)
			}
		}
	}
}

// TestUnloadWaitsForItsRequests unloads an adapter while a request runs under
// it: the request gets its whole answer, and the next one under that name runs
// a fresh load.
func TestUnloadWaitsForItsRequests(t *testing.T) {
	h := start(t, true, testLimits)
	require.NoError(t, h.LoadAdapter(t.Context(), "a", "/a", false))
	request := Request{Prompt: []int32{1, 2, 3}, Adapter: "a", Sampling: Sampling{MaxNewTokens: 100, TopP: 1, IgnoreEOS: true}}
	first, _ := h.ids.Load("a")
	streams, err := h.Submit(t.Context(), []Request{request})
	require.NoError(t, err)
	require.NoError(t, h.UnloadAdapter(t.Context(), "a"))
	tokens, _, _ := collect(t, streams[0])
	want, _ := expect(&request, first.(uint64))
	require.Equal(t, want, tokens)
	require.Empty(t, h.Adapters())
	streams, err = h.Submit(t.Context(), []Request{request})
	require.NoError(t, err)
	tokens, _, _ = collect(t, streams[0])
	second, _ := h.ids.Load("a")
	require.NotEqual(t, first, second)
	want, _ = expect(&request, second.(uint64))
	require.Equal(t, want, tokens)
	h.finish(t)
}

func TestRefusesWhatCannotRun(t *testing.T) {
	h := start(t, true, testLimits)
	good := Request{Prompt: []int32{1}, Sampling: Sampling{MaxNewTokens: 1}}
	for name, change := range map[string]func(*Request){
		"input_ids cannot be empty":          func(r *Request) { r.Prompt = nil },
		"longer than the model's context":    func(r *Request) { r.Prompt = make([]int32, 120) },
		"Requested token count exceeds":      func(r *Request) { r.Sampling.MaxNewTokens = 120 },
		"outside the vocabulary":             func(r *Request) { r.Prompt = []int32{fakeVocab} },
		"top_logprobs_num must be at most":   func(r *Request) { r.Logprobs.Top = model.MaxTop + 1 },
		"token_ids_logprob may name at most": func(r *Request) { r.Logprobs.IDs = make([]int32, model.MaxLogprobIDs+1) },
		"out-of-vocabulary token id -1":      func(r *Request) { r.Logprobs.IDs = []int32{-1} },
		"has never been loaded":              func(r *Request) { r.Adapter = "nobody" },
	} {
		bad := good
		change(&bad)
		_, err := h.Submit(t.Context(), []Request{good, bad})
		require.ErrorContains(t, err, name)
	}
	h.finish(t)
	require.Zero(t, h.fake.launches, "a request of a refused batch ran")
}

func TestFullQueueIsBusy(t *testing.T) {
	h := &harness{slots: newFakeSlots(1, testLimits)}
	h.Engine = New(Config{Vocab: fakeVocab, MaxWaiting: 2}, newFakeModel(testLimits, h.slots), nil, nil)
	request := Request{Prompt: []int32{1}, Sampling: Sampling{MaxNewTokens: 1}}
	_, err := h.Submit(t.Context(), []Request{request, request})
	require.NoError(t, err)
	_, err = h.Submit(t.Context(), []Request{request})
	require.ErrorIs(t, err, ErrBusy)
	_, err = h.Submit(t.Context(), []Request{request, request, request})
	require.EqualError(t, err, "3 answers were asked for together; at most 2 may wait (--max-queued-requests).", "who tries again would never get in")
}

// TestRequestsWaitForTheirAdapter has a request whose adapter is being read: it has its place in the queue already, and
// whoever leaves gives the place back.
func TestRequestsWaitForTheirAdapter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := make(chan struct{})
		registry := lora.NewRegistry(func(name, path string) (*lora.Adapter, error) {
			<-read
			return &lora.Adapter{Name: name, Path: path, ID: 1, Rank: 8, Targets: fakeTargets}, nil
		}, 2, 0)
		slots := newFakeSlots(1, testLimits)
		e := New(Config{Vocab: fakeVocab, MaxWaiting: 1}, newFakeModel(testLimits, slots), registry, slots)
		go func() { assert.NoError(t, e.LoadAdapter(t.Context(), "a", "/a", false)) }()
		synctest.Wait()
		request := Request{Adapter: "a", Prompt: []int32{1}, Sampling: Sampling{MaxNewTokens: 1}}
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		ended := make(chan error)
		for _, c := range []context.Context{ctx, t.Context()} {
			go func() { _, err := e.Submit(c, []Request{request}); ended <- err }()
			synctest.Wait()
			require.Equal(t, 1, e.Stats().Waiting)
			_, err := e.Submit(t.Context(), []Request{{Prompt: []int32{1}}})
			require.ErrorIs(t, err, ErrBusy)
			if c == ctx {
				leave()
				require.ErrorIs(t, <-ended, context.Canceled)
				require.Zero(t, e.Stats().Waiting)
			}
		}
		close(read)
		require.NoError(t, <-ended)
		_, err := e.Submit(t.Context(), []Request{request})
		require.ErrorIs(t, err, ErrBusy, "the first waits to run")
	})
}

// TestDeviceFailureEndsEveryRequest makes a step fail: running and waiting
// requests are aborted with the reason, and later ones are refused.
func TestDeviceFailureEndsEveryRequest(t *testing.T) {
	h := start(t, true, testLimits)
	lost := errors.New("device lost")
	h.fake.mu.Lock()
	h.fake.fail = lost
	h.fake.mu.Unlock()
	request := Request{Prompt: []int32{1, 2}, Sampling: Sampling{MaxNewTokens: 50}}
	streams, err := h.Submit(t.Context(), []Request{request, request, request, request, request, request})
	require.NoError(t, err)
	for _, s := range streams {
		_, _, f := collect(t, s)
		require.Equal(t, FinishAbort, f.Reason)
		require.Contains(t, f.Message, "device lost")
	}
	require.ErrorIs(t, <-h.done, lost)
	require.ErrorIs(t, h.Ready(), lost)
	_, err = h.Submit(t.Context(), []Request{request})
	require.ErrorIs(t, err, ErrStopped)
	require.NoError(t, h.check())
}

// TestSteadyDecodeAllocatesNothing runs the loop's own work by hand and counts
// what a decode step allocates.
func TestSteadyDecodeAllocatesNothing(t *testing.T) {
	limits := model.Limits{Rows: 64, Lanes: 8, Logits: 64, Pages: 8000, Context: 20000}
	e := New(Config{Overlap: true, Vocab: fakeVocab, MaxWaiting: 100}, &silentModel{limits: limits, pages: model.NewPages(limits.Pages, limits.Pages)}, nil, nil)
	requests := make([]Request, 8)
	for i := range requests {
		requests[i] = Request{Prompt: []int32{1, 2, 3}, Sampling: Sampling{MaxNewTokens: 15000}}
	}
	streams, err := e.Submit(t.Context(), requests)
	require.NoError(t, err)
	var last *step
	turn := func() {
		e.admit(t.Context(), false)
		next, err := e.launch(e.next())
		require.NoError(t, err)
		require.NoError(t, e.deliver(last))
		last = next
		e.publish()
		for _, s := range streams {
			s.pending.Tokens = s.pending.Tokens[:0] // what a reader's Next does to the backlog
		}
	}
	for range 50 {
		turn()
	}
	require.Zero(t, testing.AllocsPerRun(200, turn))
}

// silentModel answers every step at once with the same token.
type silentModel struct {
	limits model.Limits
	pages  *model.Pages
	steps  [2]model.Step
	want   [2]int
	turn   int
}

func (m *silentModel) Limits() model.Limits { return m.limits }
func (s *silentModel) Pages() *model.Pages  { return s.pages }

func (m *silentModel) Launch(b *model.Batch) (*model.Step, error) {
	m.turn = 1 - m.turn
	m.want[m.turn] = 0
	for i := range b.Runs {
		if b.Runs[i].Sample != nil {
			m.want[m.turn]++
		}
	}
	return &m.steps[m.turn], nil
}

func (m *silentModel) Collect(s *model.Step, out []model.Output) ([]model.Output, error) {
	turn := 0
	if s == &m.steps[1] {
		turn = 1
	}
	for range m.want[turn] {
		out = append(out, model.Output{Token: 3})
	}
	return out, nil
}
