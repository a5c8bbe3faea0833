package cases

import (
	"math"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

func sampleCases() []Case {
	return []Case{
		{Name: "sample/vocab 997", Stem: "sample", Limit: 2e-6, Build: func(s *Setup) Run { return buildSample(s, 997, 1) }},
		{Name: "sample/vocab 40003", Stem: "sample", Limit: 2e-6, Build: func(s *Setup) Run { return buildSample(s, 40003, 0.25) }},
	}
}

// sampleRows are the ways to take a token that the cases run, one row each.
func sampleRows(vocab uint32) []shaders.SampleRow {
	const token = shaders.SampleToken
	return []shaders.SampleRow{
		{Target: token, TopP: 1, TopN: 64},
		{Target: token, TopP: 1, Temperature: 1},
		{Target: token, TopP: 1, Temperature: 0.7, TopN: 3, IdsCount: 5},
		{Target: token, TopP: 1, Temperature: 1.3, TopK: 1},
		{Target: token, TopP: 1, Temperature: 1, TopK: 50},
		{Target: token, TopP: 1, Temperature: 1, TopK: vocab / 2},
		{Target: token, TopP: 1, Temperature: 1, TopK: vocab + 1},
		{Target: token, TopP: 0.9, Temperature: 0.8, IdsCount: 1},
		{Target: token, TopP: 0.5, Temperature: 1.5, TopK: 20, MinP: 0.01},
		{Target: token, TopP: 0.99, Temperature: 2},
		{Target: token, TopP: 1e-6, Temperature: 1},
		{Target: token, TopP: 1, Temperature: 1, MinP: 0.1},
		{Target: token, TopP: 1, Temperature: 1e-3},
		{Target: token, TopP: 0.95, Temperature: 100, TopK: vocab - 1},
		{Target: 3, TopN: 2},
		{Target: vocab - 1, IdsCount: 2},
	}
}

// buildSample has normal logits of a spread, with a sixteenth of them equal to others, and one logit of minus infinity.
func buildSample(s *Setup, vocab int, spread float64) Run {
	rows := sampleRows(uint32(vocab))
	logits := s.normal(len(rows), vocab, shaders.F32, 4*spread)
	var ids []uint32
	for r := range rows {
		row := logits.Row(r)
		for range vocab / 16 {
			row[s.Random.IntN(vocab)] = row[s.Random.IntN(vocab)]
		}
		row[s.Random.IntN(vocab)] = math.Inf(-1)
		rows[r].Lane = uint32(len(rows) - r)
		rows[r].SeedLo, rows[r].SeedHi, rows[r].Position = s.Random.Uint32(), s.Random.Uint32(), uint32(r)
		rows[r].IdsOffset = uint32(len(ids))
		for range rows[r].IdsCount {
			ids = append(ids, uint32(s.Random.IntN(vocab)))
		}
	}
	run := sampleRun{setup: s, rows: rows, ids: ids, logits: logits}
	op := shaders.Sample{Vocab: vocab, Count: len(rows), Params: Place(s, rows), Ids: Place(s, ids)}
	stride := Pad8(vocab)
	op.Logits = shaders.Rows{Address: address(s.Bytes(shaders.F32.Encode(padded(logits, stride)))), Stride: stride}
	run.results, run.top = s.Alloc(8*len(rows)), s.Alloc(8*len(rows)*shaders.MaxTop)
	run.scores, run.last = s.Alloc(4*len(ids)), s.Alloc(4*(len(rows)+1))
	op.Results, op.TopOut = address(run.results), address(run.top)
	op.IdsOut, op.LastTokens = address(run.scores), address(run.last)
	return Run{Dispatches: []compute.Dispatch{op.Dispatch(s.Kernels)}, Check: run.check}
}

// sampleRun is what a sample dispatch was given and where it answers.
type sampleRun struct {
	setup  *Setup
	rows   []shaders.SampleRow
	ids    []uint32
	logits reference.Matrix

	results, top, scores, last compute.Span
}

// check returns the relative error of all log probabilities, +Inf if a token or a list is not the twin's.
func (r *sampleRun) check() (float64, error) {
	results, err := Read[shaders.SampleResult](r.setup, r.results, len(r.rows))
	if err != nil {
		return 0, err
	}
	top, err := Read[shaders.TopEntry](r.setup, r.top, len(r.rows)*shaders.MaxTop)
	if err != nil {
		return 0, err
	}
	scores, err := Read[float32](r.setup, r.scores, len(r.ids))
	if err != nil {
		return 0, err
	}
	last, err := Read[uint32](r.setup, r.last, len(r.rows)+1)
	if err != nil {
		return 0, err
	}
	var got []float32
	var want []float64
	compare := func(is float32, twin float64) {
		if math.IsInf(twin, -1) && math.IsInf(float64(is), -1) {
			return // equal, and no term of a relative error
		}
		got, want = append(got, is), append(want, twin)
	}
	for i, row := range r.rows {
		logits := r.logits.Row(i)
		token := results[i].Token
		if !tokenFits(row, logits, token) || (row.Target == shaders.SampleToken) != (last[row.Lane] == token) {
			return math.Inf(1), nil
		}
		logprobs := reference.LogSoftmax(logits, temperatureOf(row))
		compare(results[i].Logprob, logprobs[token])
		for n, id := range reference.Likeliest(logits)[:row.TopN] {
			entry := top[i*shaders.MaxTop+n]
			if entry.Token != uint32(id) {
				return math.Inf(1), nil
			}
			compare(entry.Logprob, logprobs[id])
		}
		for n := row.IdsOffset; n < row.IdsOffset+row.IdsCount; n++ {
			compare(scores[n], logprobs[r.ids[n]])
		}
	}
	return RelativeError(got, want), nil
}

func temperatureOf(row shaders.SampleRow) float64 {
	if row.Target != shaders.SampleToken || row.Temperature == 0 {
		return 1
	}
	return float64(row.Temperature)
}

// tokenFits tells whether the twin takes the token too. A draw may differ where fp32 cannot tell tokens apart: the
// token has to be kept by a filter slightly wider than the row's, and to lead, within rounding, all tokens that a
// slightly narrower one keeps.
func tokenFits(row shaders.SampleRow, logits []float64, token uint32) bool {
	if row.Target != shaders.SampleToken {
		return token == row.Target
	}
	if row.Temperature == 0 {
		return int(token) == reference.Likeliest(logits)[0]
	}
	const slack = 1e-5
	filter := reference.Filter{
		Temperature: float64(row.Temperature), TopK: int(row.TopK), TopP: float64(row.TopP), MinP: float64(row.MinP),
	}
	wide, narrow := filter, filter
	wide.TopP, wide.MinP = filter.TopP*(1+slack), filter.MinP*(1-slack)
	narrow.MinP = min(filter.MinP*(1+slack), 1)
	if filter.TopP < 1 {
		narrow.TopP = filter.TopP * (1 - slack)
	}
	if int(token) >= len(logits) || !wide.Kept(logits)[token] {
		return false
	}
	lead := filter.Lead(logits, uint64(row.SeedHi)<<32|uint64(row.SeedLo), row.Position)
	for i, kept := range narrow.Kept(logits) {
		if kept && lead[i] > lead[token]+slack*max(1, math.Abs(lead[i])) {
			return false
		}
	}
	return true
}
