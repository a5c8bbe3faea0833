package engine

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/model"
)

// load loads adapters and returns their ids by name.
func (h *harness) load(t *testing.T, names ...string) map[string]uint64 {
	ids := map[string]uint64{}
	for _, name := range names {
		require.NoError(t, h.LoadAdapter(t.Context(), name, "/"+name, false))
		id, _ := h.ids.Load(name)
		ids[name] = id.(uint64)
	}
	return ids
}

// TestAnAdapterIsNotOvertakenForEver queues one request under an adapter among
// many under others that keep every slot, and of the base. Once enough have
// overtaken it, one of the others is held back until the slot is free, and
// everybody else goes on.
func TestAnAdapterIsNotOvertakenForEver(t *testing.T) {
	for _, overlap := range []bool{false, true} {
		h := prepare(t, Config{Overlap: overlap}, model.Limits{Rows: 32, Lanes: 12, Logits: 16, Pages: 60, Context: 120})
		ids := h.load(t, "a", "b", "c")
		var requests []Request
		for i := range 300 {
			requests = append(requests, Request{Prompt: []int32{1, 2}, Adapter: []string{"a", "b", ""}[i%3], Sampling: Sampling{MaxNewTokens: 3 + i*7%11, IgnoreEOS: true}})
		}
		requests[20].Adapter = "c"
		streams, err := h.Submit(t.Context(), requests)
		require.NoError(t, err)
		h.run()
		for _, s := range streams {
			collect(t, s)
		}
		h.finish(t)
		require.NotZero(t, h.Stats().EvictedAdapters, "one of three adapters made room in two slots")
		started := slices.Index(h.fake.started, ids["c"])
		// Those that were ahead, those that may overtake it, and the rest of that step.
		free := 20 + maxOvertaken + h.limits.Lanes
		held := h.fake.started[min(free, started):started]
		require.True(t, !slices.Contains(held, ids["a"]) || !slices.Contains(held, ids["b"]), "neither a nor b was held back: %v", held)
		require.Less(t, started, 120, "the others took a slot's worth of time, not all of it")
	}
}

// TestSequencesStartByPriority submits requests of mixed priorities: they start
// highest first, and in order of arrival among equals.
func TestSequencesStartByPriority(t *testing.T) {
	h := prepare(t, Config{NoPrefixCache: true}, model.Limits{Rows: 8, Lanes: 1, Logits: 8, Pages: 8, Context: 100})
	var requests []Request
	for i := range 20 {
		r := greedy([]int32{int32(i)}, 2)
		r.Priority = i * 7 % 3
		requests = append(requests, r)
	}
	_, err := h.Submit(t.Context(), requests)
	require.NoError(t, err)
	var last *sequence
	for h.admit(t.Context(), false); !h.idle(); {
		s, err := h.launch(h.next())
		require.NoError(t, err)
		q := s.sequences[0]
		require.True(t, last == nil || last == q || last.request.Priority > q.request.Priority ||
			last.request.Priority == q.request.Priority && last.request.Prompt[0] < q.request.Prompt[0])
		last = q
		require.NoError(t, h.deliver(s))
	}
}

// TestAnArrivingAdapterStopsNobody lets an upload take for ever beside a request
// of the base, which runs to its end; then nothing is left to run, and the
// engine waits for the upload instead of asking for it.
func TestAnArrivingAdapterStopsNobody(t *testing.T) {
	h := prepare(t, Config{}, plenty)
	h.slots.delay = 1 << 30
	h.load(t, "a")
	adapted := greedy([]int32{1, 2}, 5)
	adapted.Adapter = "a"
	_, err := h.Submit(t.Context(), []Request{adapted, greedy([]int32{3}, 30)})
	require.NoError(t, err)
	turns := 0
	for h.admit(t.Context(), false); !h.idle(); turns++ {
		s, err := h.launch(h.next())
		require.NoError(t, err)
		require.NoError(t, h.unblock(s != nil))
		require.NoError(t, h.deliver(s))
		require.NoError(t, h.check())
		require.Equal(t, turns > 29, h.slots.awaits > 0, "turn %d", turns)
	}
	require.Equal(t, 30+1+5, turns)
	require.Equal(t, 1, h.slots.awaits)
}

// TestUploadsThatEndAtOnceRefuseNobody has uploads that are over before anybody waits for them. Adapters of requests that
// come later, and go first, take the places that others have had no time to use: each of them is served all the same.
func TestUploadsThatEndAtOnceRefuseNobody(t *testing.T) {
	h := prepare(t, Config{}, plenty)
	h.slots.delay = 1
	h.load(t, "a", "b", "c")
	submit := func(adapter string, priority int) *Stream {
		r := greedy([]int32{1, 2}, 3)
		r.Adapter, r.Priority = adapter, priority
		streams, err := h.Submit(t.Context(), []Request{r})
		require.NoError(t, err)
		return streams[0]
	}
	turn := func() {
		h.admit(t.Context(), false)
		s, err := h.launch(h.next())
		require.NoError(t, err)
		require.NoError(t, h.unblock(s != nil))
		require.NoError(t, h.deliver(s))
	}
	streams := []*Stream{submit("a", 0)}
	turn()
	streams = append(streams, submit("b", 1), submit("c", 1))
	turn()
	for !h.idle() {
		turn()
	}
	for _, s := range streams {
		tokens, _, finish := collect(t, s)
		require.Equal(t, FinishLength, finish.Reason, finish.Message)
		require.Len(t, tokens, 3)
	}
}

// TestNoRoomBesidePinnedAdapters asks for more than what adapters that are never
// evicted leave of the pool: the request ends with the reason, and the next one
// runs.
func TestNoRoomBesidePinnedAdapters(t *testing.T) {
	for _, overlap := range []bool{false, true} {
		h := start(t, overlap, model.Limits{Rows: 64, Lanes: 4, Logits: 12, Pages: 4, Context: 120})
		require.NoError(t, h.LoadAdapter(t.Context(), "a", "/a", true))
		small := greedy([]int32{1, 2}, 5)
		small.Adapter = "a"
		h.ask(t, small)
		for _, r := range []Request{greedy(stems[0][:40], 5), greedy(stems[0][:20], 30)} { // does not start; does not end
			streams, err := h.Submit(t.Context(), []Request{r})
			require.NoError(t, err)
			_, _, f := collect(t, streams[0])
			require.Equal(t, Finish{Reason: FinishAbort, Status: StatusUnavailable, Message: f.Message}, f)
			require.Contains(t, f.Message, "no room for")
			h.ask(t, small)
		}
		h.finish(t)
	}
}
