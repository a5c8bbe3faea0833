package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"lorikeet/lora"
)

// flight is a request of the churn and what it must be answered.
type flight struct {
	request Request
	stream  *Stream
	given   bool // up
}

// churn is the simple model of an engine: which adapters there are, and what
// each request gets, whatever happens around it.
type churn struct {
	*harness
	random  *rand.Rand
	flights []*flight
	unloads sync.WaitGroup
}

// TestChurn submits, cancels, loads, replaces, unloads, flushes, reads and looks
// away at random, with room for all adapters in host memory or for some, and
// checks every answer and the engine's books. At the end everything
// is back: adapters that are unloaded and a cache that is flushed leave all
// pages free.
func TestChurn(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			c := churn{harness: prepareWithin(t, Config{Overlap: i&1 != 0}, testLimits, []int{0, 0, 2, 3}[i]), random: rand.New(rand.NewPCG(seed, 0))}
			c.fake.late, c.slots.delay = i&2 != 0, i
			c.run()
			c.load(t, churnNames...)
			for range 2000 {
				c.turn(t)
			}
			for _, f := range c.flights {
				c.settle(t, f)
			}
			c.unloads.Wait()
			for _, a := range c.Adapters() {
				require.NoError(t, c.UnloadAdapter(t.Context(), a.Name))
			}
			require.NoError(t, c.Flush())
			c.balanced(t)
			t.Logf("%+v", c.Stats())
			require.Eventually(t, func() bool { return c.Stats().Pages.Free == c.limits.Pages }, 10*time.Second, time.Millisecond,
				"an adapter that was evicted or replaced in use is freed by nobody who could be waited for")
			c.finish(t)
		})
	}
}

var churnNames = []string{"a", "b", "c", "d", "e"}

// turn does one thing.
func (c *churn) turn(t *testing.T) {
	name := churnNames[c.random.IntN(len(churnNames))]
	switch c.random.IntN(10) {
	case 0:
		c.unloads.Go(func() {
			if err := c.UnloadAdapter(context.Background(), name); err != nil {
				assert.ErrorContains(t, err, "does not exist")
			}
		})
	case 1:
		path := fmt.Sprint("/", name, c.random.IntN(2))
		if c.random.IntN(2) == 0 {
			require.NoError(t, c.ReplaceAdapter(t.Context(), name, path, false))
		} else if err := c.LoadAdapter(t.Context(), name, path, false); err != nil {
			require.ErrorContains(t, err, "already loaded")
		}
	case 2:
		if err := c.Flush(); !errors.Is(err, ErrBusy) {
			require.NoError(t, err)
		}
	case 3:
		c.balanced(t)
	case 4, 5, 6:
		c.submit(t)
	default:
		if len(c.flights) > 0 {
			c.land(t, c.random.IntN(len(c.flights)))
		}
	}
}

// land gives one request up, or reads it to its end when many are in the air.
func (c *churn) land(t *testing.T, i int) {
	f := c.flights[i]
	if f.given = c.random.IntN(4) == 0; f.given {
		f.stream.Cancel()
	}
	if f.given || len(c.flights) > 20 {
		c.settle(t, f)
		c.flights = slices.Delete(c.flights, i, i+1)
	}
}

// submit sends a request of the base or of one adapter. Which load of the name
// it gets is known after it was acquired.
func (c *churn) submit(t *testing.T) {
	r := randomRequest(c.random, churnNames)
	streams, err := c.Submit(t.Context(), []Request{r})
	require.NoError(t, err)
	c.flights = append(c.flights, &flight{request: r, stream: streams[0]})
}

// settle reads an answer to its end and compares it with what the request gets
// alone, under one of the loads that its adapter has had.
func (c *churn) settle(t *testing.T, f *flight) {
	tokens, _, finish := collect(t, f.stream)
	loads := []uint64{0}
	if f.request.Adapter != "" {
		loads = c.loads(f.request.Adapter)
	}
	for _, id := range loads {
		want, end := expect(&f.request, id)
		if finish.Reason == FinishAbort && f.given && len(tokens) <= len(want) {
			want, end = want[:len(tokens)], finish
		}
		if end == finish && fmt.Sprint(want) == fmt.Sprint(tokens) {
			return
		}
	}
	require.Fail(t, "a wrong answer", "%+v got %v, %+v", f.request, tokens, finish)
}

// loads lists the ids that a name has had.
func (c *churn) loads(name string) (ids []uint64) {
	c.all.Range(func(id, a any) bool {
		if a.(*lora.Adapter).Name == name {
			ids = append(ids, id.(uint64))
		}
		return true
	})
	return ids
}
