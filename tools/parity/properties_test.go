package parity

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute/computetest"
	"lorikeet/lora"
	"lorikeet/model"
)

// TestProperties checks what has to hold of whole models whatever the numbers are, on fresh random prompts.
func TestProperties(t *testing.T) {
	device := computetest.Device(t)
	table, err := readTable()
	require.NoError(t, err)
	f := folderFixtures(*folder, table)
	for _, entry := range table.Models {
		t.Run(entry.Name, func(t *testing.T) {
			_, err := f.model(entry.Name)
			require.NoError(t, err)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			place := path.Join("models", entry.Name)
			p := &properties{served: serve(t, device, f.sub(place), place), random: rand.New(rand.NewPCG(seed, 0))}
			for _, name := range table.served(entry)[1:] {
				a, err := p.read(f, entry.Name, name)
				require.NoError(t, err)
				p.adapters = append(p.adapters, a)
			}
			t.Run("zero B is the base", p.zeroB)
			t.Run("permuted batch", p.permuted)
			t.Run("merged weights", func(t *testing.T) {
				a := p.everywhere(table, entry)
				p.merged(t, a, serve(t, device, p.merge(t, f.sub(place), a), "merged"))
			})
			t.Run("company", func(t *testing.T) { p.company(t, f, entry.Name, table.served(entry)) })
		})
	}
}

type properties struct {
	*served
	random   *rand.Rand
	adapters []*lora.Adapter
}

// prompt is a sequence of random tokens, the last few of which run one by one.
func (p *properties) prompt(a *lora.Adapter, length, single int) *sequence {
	q := &sequence{adapter: a, prompt: length, want: wanted(p.shape.Vocab)}
	for range length + single + 1 {
		q.tokens = append(q.tokens, int32(p.random.IntN(p.shape.Vocab)))
	}
	return q
}

// answers are the outputs of sequences.
func answers(sequences []*sequence) [][]model.Output {
	var out [][]model.Output
	for _, q := range sequences {
		out = append(out, slices.Concat(q.scored, q.sampled))
	}
	return out
}

// requireEqual fails at the first output that differs in any bit.
func requireEqual(t *testing.T, want [][]model.Output, sequences []*sequence, message string, args ...any) {
	t.Helper()
	got := answers(sequences)
	for i := range want {
		require.Len(t, got[i], len(want[i]))
		for j := range want[i] {
			require.Equal(t, want[i][j], got[i][j], "sequence %d, output %d: %s", i, j, fmt.Sprintf(message, args...))
		}
	}
}

// zeroB: rows under an adapter that adds nothing have the bits of the base, alone and beside rows of the base.
func (p *properties) zeroB(t *testing.T) {
	sequences := []*sequence{p.prompt(nil, 9, 3), p.prompt(nil, 17, 3), p.prompt(nil, 1, 3)}
	p.play(t, stepRows, sequences...)
	want := answers(sequences)
	for _, rows := range [][]int{{0, 1, 2}, {0, 2}, {1}} {
		for _, q := range sequences {
			q.adapter = nil
		}
		zero := withoutB(p.adapters[p.random.IntN(len(p.adapters))])
		for _, i := range rows {
			sequences[i].adapter = zero
		}
		p.play(t, stepRows, sequences...)
		requireEqual(t, want, sequences, "sequences %v under %q without B", rows, zero.Name)
		p.residency.Drop(zero.ID)
	}
}

// permuted: the order of a batch, of its segments, and the lanes and pages that the sequences get change no bit. Neither
// does running the same batch again.
func (p *properties) permuted(t *testing.T) {
	var sequences []*sequence
	for i, length := range []int{1, 9, 16, 3, 5, 8, 2} {
		var a *lora.Adapter
		if i < 5 {
			a = p.adapters[p.random.IntN(min(3, len(p.adapters)))]
		}
		sequences = append(sequences, p.prompt(a, length, 4))
	}
	p.play(t, stepRows, sequences...)
	want := answers(sequences)
	p.play(t, stepRows, sequences...)
	requireEqual(t, want, sequences, "the same batch again")
	for range 6 {
		order := slices.Clone(sequences)
		p.random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		p.play(t, stepRows, order...)
		requireEqual(t, want, sequences, "in another order")
	}
}

// merged: a model with the adapter's product in its weights agrees with base and adapter.
func (p *properties) merged(t *testing.T, a *lora.Adapter, whole *served) {
	apart := []*sequence{p.prompt(a, 20, 5), p.prompt(a, 7, 5)}
	var together []*sequence
	for _, q := range apart {
		c := *q
		c.adapter = nil
		together = append(together, &c)
	}
	p.play(t, stepRows, apart...)
	whole.play(t, stepRows, together...)
	worst := 0.0
	for i := range apart {
		for j, o := range apart[i].scored {
			other := together[i].scored[j]
			worst = max(worst, math.Abs(float64(o.Logprob)-float64(other.Logprob)))
			for k := range o.IDs {
				worst = max(worst, math.Abs(float64(o.IDs[k].Logprob)-float64(other.IDs[k].Logprob)))
			}
		}
	}
	t.Logf("largest difference of a log probability: %.2g, limit %g", worst, mergedSlack[p.shape.Type])
	require.LessOrEqual(t, worst, mergedSlack[p.shape.Type])
	require.Positive(t, worst, "the adapter changed nothing")
}
