package engine

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/model"
)

// plenty is a pool in which nothing is evicted or preempted.
var plenty = model.Limits{Rows: 24, Lanes: 4, Logits: 12, Pages: 200, Context: 120}

// ask runs one request and returns how many tokens of its prompt were in memory.
func (h *harness) ask(t *testing.T, r Request) (cached int) {
	t.Helper()
	streams, err := h.Submit(t.Context(), []Request{r})
	require.NoError(t, err)
	id := uint64(0)
	if v, ok := h.ids.Load(r.Adapter); ok {
		id = v.(uint64)
	}
	want, _ := expect(&r, id)
	var got []int32
	for {
		u, err := streams[0].Next(t.Context())
		require.NoError(t, err)
		cached += u.CachedTokens
		for _, token := range u.Tokens {
			got = append(got, token.ID)
		}
		if u.Finish != nil {
			require.Equal(t, want, got)
			return cached
		}
	}
}

// greedy asks for tokens after a prompt.
func greedy(prompt []int32, tokens int) Request {
	return Request{Prompt: prompt, Sampling: Sampling{MaxNewTokens: tokens, TopP: 1, IgnoreEOS: true}, Logprobs: Logprobs{Start: -1}}
}

// TestCachedTokensAreExact asks for prompts whose beginnings are in memory or
// not, for every reason, and compares what is reported with what must be there.
func TestCachedTokensAreExact(t *testing.T) {
	for _, overlap := range []bool{false, true} {
		h := start(t, overlap, plenty)
		for _, name := range []string{"a", "b"} {
			require.NoError(t, h.LoadAdapter(t.Context(), name, "/"+name, false))
		}
		stem := stems[0]
		other := append(slices.Clone(stem[:20]), 49, 49, 49, 49, 49, 49, 49, 49, 49, 49, 49, 49, 49, 49)
		under := func(name string, r Request) Request { r.Adapter = name; return r }
		scored := func(start int, r Request) Request {
			r.Logprobs = Logprobs{Return: true, Start: start}
			return r
		}
		require.Zero(t, h.ask(t, greedy(stem[:40], 3)), "nothing is there yet")
		require.Equal(t, 32, h.ask(t, greedy(stem[:40], 3)), "whole pages")
		require.Equal(t, 32, h.ask(t, greedy(stem[:33], 3)), "all but one token")
		require.Equal(t, 16, h.ask(t, greedy(stem[:32], 3)), "one token must be left to compute")
		require.Equal(t, 16, h.ask(t, greedy(other, 3)), "up to where the prompts part")
		require.Equal(t, 32, h.ask(t, greedy(stem[:60], 3)), "a longer prompt finds the shorter one")
		require.Equal(t, 48, h.ask(t, greedy(stem[:60], 3)))
		require.Equal(t, 48, h.ask(t, scored(-1, greedy(stem[:60], 3))), "no prompt log probabilities are wanted")
		require.Equal(t, 32, h.ask(t, scored(47, greedy(stem[:60], 3))), "rows that score are computed")
		require.Zero(t, h.ask(t, scored(0, greedy(stem[:60], 3))))

		require.Zero(t, h.ask(t, under("a", greedy(stem[:40], 3))), "another adapter")
		require.Equal(t, 32, h.ask(t, under("a", greedy(stem[:40], 3))))
		within := func(namespace string, r Request) Request { r.Namespace = namespace; return r }
		for _, name := range []string{"", "a"} {
			require.Zero(t, h.ask(t, within("n", under(name, greedy(stem[:40], 3)))), "another namespace")
			require.Equal(t, 32, h.ask(t, within("n", under(name, greedy(stem[:40], 3)))))
			require.Zero(t, h.ask(t, within("m", under(name, greedy(stem[:40], 3)))))
		}
		require.Zero(t, h.ask(t, under("b", greedy(stem[:40], 3))))
		require.NoError(t, h.UnloadAdapter(t.Context(), "a"))
		require.NoError(t, h.LoadAdapter(t.Context(), "a", "/a", false))
		require.Zero(t, h.ask(t, under("a", greedy(stem[:40], 3))), "a new load of the name")
		require.Zero(t, h.ask(t, within("n", under("a", greedy(stem[:40], 3)))))
		require.Equal(t, 32, h.ask(t, under("b", greedy(stem[:40], 3))))

		answer, _ := expect(&Request{Prompt: stem[:30], Sampling: Sampling{MaxNewTokens: 40, IgnoreEOS: true}}, 0)
		require.Equal(t, 16, h.ask(t, greedy(stem[:30], 40)))
		conversation := append(slices.Clone(stem[:30]), answer...)
		require.Equal(t, 64, h.ask(t, greedy(append(conversation, 1, 2, 3), 3)), "what was produced is there too")

		require.NoError(t, h.Flush())
		h.balanced(t)
		require.Zero(t, h.Stats().Pages.Cached)
		require.Zero(t, h.ask(t, greedy(stem[:40], 3)), "the cache was emptied")
		h.balanced(t)
		require.EqualValues(t, h.fake.found, h.Stats().CachedTokens)
		h.finish(t)
	}
}

func TestNoPrefixCache(t *testing.T) {
	h := prepare(t, Config{NoPrefixCache: true}, plenty)
	h.run()
	for range 3 {
		require.Zero(t, h.ask(t, greedy(stems[0][:40], 3)))
	}
	require.Zero(t, h.Stats().Pages.Cached)
	h.finish(t)
}

// TestFlushWaitsForNobody asks for a flush while a request waits, and while it
// runs: it is refused. When the request has ended it may wait for the step that
// is left.
func TestFlushWaitsForNobody(t *testing.T) {
	h := prepare(t, Config{}, plenty)
	streams, err := h.Submit(t.Context(), []Request{greedy(stems[0][:40], 50)})
	require.NoError(t, err)
	h.admit(t.Context(), false)
	require.ErrorIs(t, h.flush(), ErrBusy)
	s, err := h.launch(h.next())
	require.NoError(t, err)
	require.ErrorIs(t, h.flush(), ErrBusy)
	streams[0].Cancel()
	h.dropCancelled()
	require.ErrorIs(t, h.flush(), errEnding)
	require.NoError(t, h.deliver(s))
	require.NoError(t, h.flush())
}

// TestAbortedPromptIsKept ends a request in the middle of its prompt: what was
// computed of it is found by the next one.
func TestAbortedPromptIsKept(t *testing.T) {
	h := prepare(t, Config{}, plenty)
	streams, err := h.Submit(t.Context(), []Request{greedy(stems[0][:60], 3)})
	require.NoError(t, err)
	e := h.Engine
	e.admit(t.Context(), false)
	for range 2 { // of 24 rows
		s, err := e.launch(e.next())
		require.NoError(t, err)
		require.NoError(t, e.deliver(s))
		require.NoError(t, e.check())
	}
	streams[0].Cancel()
	e.dropCancelled()
	require.True(t, e.idle())
	require.NoError(t, e.check())
	h.run()
	require.Equal(t, 48, h.ask(t, greedy(stems[0][:60], 3)))
	h.finish(t)
}

// TestBrokenLogitsAreNotShared makes the model answer a prompt with what is not
// a number: nothing of the request stays in the cache.
func TestBrokenLogitsAreNotShared(t *testing.T) {
	h := prepare(t, Config{}, plenty)
	h.fake.broken = true
	h.run()
	require.NoError(t, h.LoadAdapter(t.Context(), "a", "/a", false))
	adapted := greedy(stems[0][:40], 3)
	adapted.Adapter = "a"
	streams, err := h.Submit(t.Context(), []Request{greedy(stems[0][:40], 3), adapted})
	require.NoError(t, err)
	for i, message := range []string{"the model's logits are not numbers", "the model's logits are not numbers under the adapter a"} {
		_, _, f := collect(t, streams[i])
		require.Equal(t, StatusFailed, f.Status)
		require.Equal(t, message, f.Message)
	}
	h.balanced(t)
	require.Zero(t, h.Stats().Pages.Cached)
	h.finish(t)
}

// TestPrefixesAgainstAList compares the tree with a list of the prefixes that it
// must hold, under random use.
func TestPrefixesAgainstAList(t *testing.T) {
	type entry struct {
		p      *prefix
		tokens []int32
		id     owner
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	tree := newPrefixes()
	var list []entry
	var page int32
	var now uint64
	for range 3000 {
		now++
		id := owner{r.Uint64N(3), []string{"", "x"}[r.IntN(2)]}
		var tokens []int32
		for range r.IntN(4) + 1 {
			tokens = append(tokens, slices.Repeat([]int32{r.Int32N(3)}, model.PageTokens)...)
		}
		switch r.IntN(8) {
		case 0:
			tree.drop(id.adapter, nil)
			list = slices.DeleteFunc(list, func(e entry) bool { return e.id.adapter == id.adapter })
		case 1, 2:
			if used, ok := tree.oldest(); ok {
				for _, e := range list {
					require.False(t, len(e.p.children) == 0 && e.p.used < used, "an older leaf is left")
				}
				gone := tree.evict()
				list = slices.DeleteFunc(list, func(e entry) bool { return e.p.page == gone })
			}
		default: // a sequence that finds a prefix, adds the rest and leaves
			p, depth := tree.longest(id, tokens)
			longest := 0
			for _, e := range list {
				if e.id == id && len(e.tokens) <= len(tokens) && slices.Equal(e.tokens, tokens[:len(e.tokens)]) {
					longest = max(longest, len(e.tokens))
				}
			}
			require.Equal(t, longest, depth*model.PageTokens)
			for q := p; q != nil && q.parent != nil; q = q.parent {
				tree.use(q)
			}
			for ; depth*model.PageTokens < len(tokens); depth++ {
				page++
				p = tree.add(p, id, tokens[depth*model.PageTokens:], page)
				list = append(list, entry{p, tokens[:(depth+1)*model.PageTokens], id})
			}
			tree.leave(p, now)
		}
		require.NoError(t, tree.check(nil))
		require.Equal(t, len(list), tree.pages)
	}
}
