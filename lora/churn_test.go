package lora

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/shaders"
)

// churn is a residency whose pool is shared with pages of sequences, each of
// which repeats a word.
type churn struct {
	t        *testing.T
	rnd      *rand.Rand
	device   *compute.Device
	memory   *testMemory
	r        *Residency
	adapters []*Adapter
	pinned   map[int]*Adapter // by slot
	words    map[int32]uint32 // by page of a sequence
}

// TestResidencyChurn places, pins, drops and evicts adapters of mixed ranks in
// any order while single pages come and go beside them, several uploads under
// way at most times. What is pinned must be there byte for byte, what sequences
// wrote must stay, and no page may be lost.
func TestResidencyChurn(t *testing.T) {
	base := testBase(shaders.F16)
	base.Layers = 2
	d, r, m := newResidency(t, base, 5, 120)
	c := &churn{t: t, rnd: random(t), device: d, memory: m, r: r, pinned: map[int]*Adapter{}, words: map[int32]uint32{}}
	for id := range uint64(12) {
		c.adapters = append(c.adapters, made(c.rnd, id+1, base))
	}
	met := map[error]bool{}
	goal := 0                                   // pages that sequences are to have: few for a while, then many
	for i := 0; i < 1500 || len(met) < 4; i++ { // nil, ErrArriving, ErrNoSlot and ErrNoPages
		if i%60 == 0 {
			goal = c.rnd.IntN(len(m.used))
		}
		switch c.rnd.IntN(9) {
		case 0, 1, 2:
			met[c.place()] = true
		case 3:
			c.unpin()
		case 4:
			c.drop()
		case 5, 6, 7:
			if len(c.words) < goal {
				c.takePage()
			} else {
				c.givePage()
			}
		case 8:
			_, err := r.AwaitUpload()
			require.NoError(t, err)
		}
		require.NoError(t, r.check())
		require.Equal(t, len(m.used), m.free()+r.Pages()+len(c.words))
	}
	for len(c.pinned) > 0 {
		c.unpin()
	}
	for len(c.words) > 0 {
		c.givePage()
	}
	for _, a := range c.adapters {
		r.Drop(a.ID)
	}
	for r.Pages() > 0 {
		await(t, r)
	}
	require.NoError(t, r.Check())
	require.Equal(t, len(m.used), m.free())
}

func (c *churn) place() error {
	a := c.adapters[c.rnd.IntN(len(c.adapters))]
	now++
	n, err := c.r.Place(a, now)
	if errors.Is(err, ErrNoPages) && c.rnd.IntN(2) == 0 {
		c.r.EvictIdle()
	}
	if err == nil && c.pinned[n] == nil {
		requireResident(c.t, c.device, c.r, n, a)
		c.r.Pin(n)
		c.pinned[n] = a
	}
	return err
}

func (c *churn) unpin() {
	for n, a := range c.pinned {
		requireResident(c.t, c.device, c.r, n, a)
		c.r.Unpin(n)
		delete(c.pinned, n)
		return
	}
}

func (c *churn) drop() {
	a := c.adapters[c.rnd.IntN(len(c.adapters))]
	for _, pinned := range c.pinned {
		if pinned == a {
			return
		}
	}
	c.r.Drop(a.ID)
}

func (c *churn) takePage() {
	page, ok := c.memory.TakeRun(1)
	if !ok {
		return
	}
	word := c.rnd.Uint32()
	require.NoError(c.t, c.device.Fill(c.memory.Span(page, 1), word))
	c.words[page] = word
}

func (c *churn) givePage() {
	for page, word := range c.words {
		data := make([]byte, testPage)
		require.NoError(c.t, c.device.Download(data, c.memory.Span(page, 1)))
		for i := 0; i < len(data); i += 4 {
			require.Equal(c.t, word, binary.LittleEndian.Uint32(data[i:]))
		}
		c.memory.GiveRun(page, 1)
		delete(c.words, page)
		return
	}
}
