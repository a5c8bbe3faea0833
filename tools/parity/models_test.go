package parity

import (
	"encoding/binary"
	"fmt"
	"math"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/model/checkpoint"
)

// What models.py keeps of every position.
const (
	promptTokens = 37
	greedyTokens = 16
	topTokens    = 2
	spreadIDs    = 16
)

// answer is what CUDA said of one sequence, [position] each; position i is that of the token before the one scored.
type answer struct {
	tokens    []int32 // the prompt and its greedy continuation
	next      []float32
	likeliest []int32
	top       []float32 // [position][topTokens]
	ids       []float32 // [position][spreadIDs]
}

func readAnswer(f *checkpoint.File, adapter, label string) (*answer, error) {
	var failed error
	words := func(name string, kind checkpoint.DType, n int) []uint32 {
		tensor, err := f.Tensor(adapter + "/" + label + "/" + name)
		if err == nil && (tensor.Type != kind || len(tensor.Data) != 4*n) {
			err = fmt.Errorf("%s: %s %v, not %d values of %s", tensor.Name, tensor.Type, tensor.Shape, n, kind)
		}
		if err != nil {
			failed = err
			return make([]uint32, n)
		}
		list := make([]uint32, n)
		for i := range list {
			list[i] = binary.LittleEndian.Uint32(tensor.Data[4*i:])
		}
		return list
	}
	const positions = promptTokens + greedyTokens - 1
	a := &answer{
		tokens:    convert(words("tokens", "I32", positions+1), func(w uint32) int32 { return int32(w) }),
		next:      convert(words("next", checkpoint.F32, positions), math.Float32frombits),
		likeliest: convert(words("likeliest", "I32", positions), func(w uint32) int32 { return int32(w) }),
		top:       convert(words("top", checkpoint.F32, positions*topTokens), math.Float32frombits),
		ids:       convert(words("ids", checkpoint.F32, positions*spreadIDs), math.Float32frombits),
	}
	return a, failed
}

func convert[T any](words []uint32, to func(uint32) T) []T {
	out := make([]T, len(words))
	for i, w := range words {
		out[i] = to(w)
	}
	return out
}

// margin is the lead of the likeliest token at a position.
func (a *answer) margin(position int) float64 {
	top := a.top[position*topTokens:]
	return float64(top[0]) - float64(top[1])
}

// wanted is what to ask of every position.
func wanted(vocab int) model.Logprobs {
	var w model.Logprobs
	for i := range spreadIDs {
		w.IDs = append(w.IDs, int32(i*vocab/spreadIDs))
	}
	return w
}

// difference is the largest difference of a log probability.
func (a *answer) difference(q *sequence) float64 {
	worst := 0.0
	see := func(got, want float32) {
		if d := math.Abs(float64(got) - float64(want)); !(d <= worst) { // a NaN too
			worst = d
		}
	}
	for i, o := range q.scored {
		see(o.Logprob, a.next[i])
		for j, entry := range o.IDs {
			see(entry.Logprob, a.ids[i*spreadIDs+j])
		}
	}
	for i, o := range q.sampled {
		see(o.Logprob, a.top[(promptTokens-1+i)*topTokens])
	}
	return worst
}

// modelTrial is one adapter of a model and its sequences: forced along each of CUDA's answers, and running freely.
type modelTrial struct {
	name    string
	adapter *lora.Adapter // nil: the base
	labels  []string
	answers []*answer
	forced  []*sequence
	free    *sequence
}

func testModels(t *testing.T, d *compute.Device, table *table, f *fixtures, r *report) {
	for _, entry := range table.Models {
		t.Run(entry.Name, func(t *testing.T) {
			expected, err := f.model(entry.Name)
			if err != nil {
				for _, name := range table.served(entry) {
					t.Run(name, func(t *testing.T) { require.NoError(t, err) })
				}
				return
			}
			folder := path.Join("models", entry.Name)
			s := serve(t, d, f.sub(folder), folder)
			testServed(t, s, f, expected, entry, table.served(entry), r)
		})
	}
}

func (s *served) read(f *fixtures, model, adapter string) (*lora.Adapter, error) {
	place := path.Join("models", model, "adapters", adapter)
	return lora.Read(adapter, place, f.sub(place), s.shape.Sites(), adapterLimits)
}

// testServed runs the base and all adapters together and compares each with CUDA.
func testServed(t *testing.T, s *served, f *fixtures, expected *checkpoint.File, entry modelEntry, names []string, r *report) {
	var trials []*modelTrial
	var forced, free []*sequence
	for _, name := range names {
		m, err := s.trial(f, expected, entry, name)
		if err != nil {
			t.Run(name, func(t *testing.T) { require.NoError(t, err) })
			continue
		}
		trials = append(trials, m)
		forced, free = append(forced, m.forced...), append(free, m.free)
	}
	s.play(t, 20, forced...)
	s.play(t, 25, free...)
	for _, m := range trials {
		t.Run(m.name, func(t *testing.T) { m.check(t, entry, r) })
	}
}

func (s *served) trial(f *fixtures, expected *checkpoint.File, entry modelEntry, name string) (*modelTrial, error) {
	m := &modelTrial{name: name, labels: []string{inType}}
	if entry.Type != "f32" {
		m.labels = append(m.labels, inFloat32)
	}
	if name != baseName {
		var err error
		if m.adapter, err = s.read(f, entry.Name, name); err != nil {
			return nil, err
		}
	}
	for _, label := range m.labels {
		a, err := readAnswer(expected, name, label)
		if err != nil {
			return nil, err
		}
		m.answers = append(m.answers, a)
		m.forced = append(m.forced, &sequence{adapter: m.adapter, tokens: a.tokens, prompt: promptTokens, want: wanted(s.shape.Vocab)})
	}
	m.free = &sequence{adapter: m.adapter, tokens: m.answers[0].tokens[:promptTokens], prompt: promptTokens, greedy: greedyTokens}
	return m, nil
}

// check compares the largest difference with the limits, and the likeliest tokens wherever CUDA's lead is larger than
// twice that difference: then no error of that size could turn them round.
func (m *modelTrial) check(t *testing.T, entry modelEntry, r *report) {
	measured, limit := map[string]float64{}, entry.limits().of(r.variant)
	equal := 0
	for i, label := range m.labels {
		a, q := m.answers[i], m.forced[i]
		require.Len(t, q.scored, len(a.next))
		require.Len(t, q.sampled, greedyTokens)
		worst := a.difference(q)
		measured[label] = worst
		t.Logf("%s: %.2g, limit %g", label, worst, limit[label])
		require.LessOrEqual(t, worst, limit[label], label)
		for i, o := range q.sampled {
			if position := promptTokens - 1 + i; o.Token != a.likeliest[position] {
				require.LessOrEqual(t, a.margin(position), 2*worst, "%s: position %d: the likeliest token is %d", label, position, a.likeliest[position])
			}
		}
		equal += m.agree(t, a, worst)
	}
	r.model(entry.Name+"/"+m.name, limit, measured, equal, greedyTokens*len(m.labels))
}

// agree counts the tokens that we chose freely like CUDA, up to the first one where the lead is within rounding.
func (m *modelTrial) agree(t *testing.T, a *answer, worst float64) int {
	require.Len(t, m.free.sampled, greedyTokens)
	for i, o := range m.free.sampled {
		if o.Token != a.tokens[promptTokens+i] {
			require.LessOrEqual(t, a.margin(promptTokens-1+i), 2*worst, "greedy token %d", i)
			return i
		}
	}
	return greedyTokens
}
