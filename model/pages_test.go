package model

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// plainPages is the allocator as its rules say, one page after the other.
type plainPages struct {
	used      []bool
	perBuffer int
}

func (p *plainPages) take() int32 {
	page := slices.Index(p.used, false)
	p.used[page] = true
	return int32(page)
}

func (p *plainPages) takeRun(n int) (int32, bool) {
	for first := len(p.used) - n; first >= 0; first-- {
		if first/p.perBuffer == (first+n-1)/p.perBuffer && !slices.Contains(p.used[first:first+n], true) {
			for i := range n {
				p.used[first+i] = true
			}
			return int32(first), true
		}
	}
	return 0, false
}

// TestPagesModel takes and gives at random and compares every answer with that
// of the plain allocator.
func TestPagesModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range 40 {
		total := 1 + r.IntN(400)
		perBuffer := 1 + r.IntN(total+40)
		if i%2 == 0 {
			perBuffer = 64 * (1 + i%3) // buffers end where words do
		}
		p, plain := NewPages(total, perBuffer), &plainPages{make([]bool, total), perBuffer}
		var single []int32
		var runs [][]int32
		for range 400 {
			switch r.IntN(4) {
			case 0:
				n := r.IntN(1 + min(p.Free(), 9))
				got := p.Take(nil, n)
				for i := range n {
					require.Equal(t, plain.take(), got[i])
				}
				single = append(single, got...)
			case 1:
				n := 1 + r.IntN(90)
				first, ok := p.TakeRun(n)
				want, wantOK := plain.takeRun(n)
				require.Equal(t, wantOK, ok)
				require.Equal(t, want, first)
				if ok {
					runs = append(runs, []int32{first, int32(n)})
				}
			case 2:
				r.Shuffle(len(single), func(i, j int) { single[i], single[j] = single[j], single[i] })
				n := r.IntN(1 + len(single))
				p.Give(single[:n])
				for _, page := range single[:n] {
					plain.used[page] = false
				}
				single = single[n:]
			case 3:
				if len(runs) == 0 {
					continue
				}
				i := r.IntN(len(runs))
				first, n := runs[i][0], runs[i][1]
				runs = slices.Delete(runs, i, i+1)
				p.GiveRun(first, int(n))
				for page := first; page < first+n; page++ {
					plain.used[page] = false
				}
			}
			require.NoError(t, p.Check())
			free := 0
			for _, used := range plain.used {
				if !used {
					free++
				}
			}
			require.Equal(t, free, p.Free())
			require.Equal(t, total, p.Total())
		}
	}
}

// TestPagesLeaveRuns fills two thirds of a pool with single pages that come and
// go in any order: the last third stays one run.
func TestPagesLeaveRuns(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	p := NewPages(3000, 3000)
	var taken []int32
	for range 20000 {
		if len(taken) < 2000 && r.IntN(5) > 1 {
			taken = p.Take(taken, 1)
		} else if len(taken) > 0 {
			i := r.IntN(len(taken))
			p.Give(taken[i : i+1])
			taken[i] = taken[len(taken)-1]
			taken = taken[:len(taken)-1]
		}
	}
	first, ok := p.TakeRun(1000)
	require.True(t, ok)
	require.EqualValues(t, 2000, first)
}

func TestPagesRefuse(t *testing.T) {
	p := NewPages(5, 3)
	list := p.Take(nil, 2)
	require.Panics(t, func() { p.Take(nil, 4) })
	p.Give(list)
	require.Panics(t, func() { p.Give(list) })
	require.Panics(t, func() { p.GiveRun(4, 2) })
	_, ok := p.TakeRun(4)
	require.False(t, ok, "a run does not cross buffers")
	first, ok := p.TakeRun(2)
	require.True(t, ok)
	require.EqualValues(t, 3, first)
}

// TestPagesAllocateNothing counts what a step's taking and giving allocates.
func TestPagesAllocateNothing(t *testing.T) {
	p := NewPages(1000, 300)
	list := make([]int32, 0, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		p.Give(p.Take(list[:0], 100))
		first, _ := p.TakeRun(70)
		p.GiveRun(first, 70)
	}))
}

// BenchmarkTakeRun looks for a run in a pool of 140 GB of 2 MiB pages, every
// other of which is taken: there is none, and all of it is searched.
func BenchmarkTakeRun(b *testing.B) {
	p := NewPages(70000, 2046)
	for i, page := range p.Take(nil, 70000) {
		if i%2 == 0 {
			p.Give([]int32{page})
		}
	}
	for b.Loop() {
		if _, ok := p.TakeRun(2); ok {
			b.Fatal("there is a run")
		}
	}
}
