package parity

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
	"lorikeet/shaders/reference"
)

const draws = 100

// sample draws many tokens from the same logits. The kernel takes the kept token whose exponential clock rings first, at
// a rate that is the token's probability. So CUDA's probabilities, with the same clocks, say which token each draw has
// to give: a token that CUDA filtered out is an error of infinity, and otherwise the error is how much later than the
// first clock the chosen one rings. Log probabilities at the temperature are compared as well.
func (t *trial) sample() {
	logits := t.input("logits", 1, t.Vocab, 2, 0)
	row, err := parseFilter(t.Filter)
	t.fail(err)
	rows := make([]shaders.SampleRow, draws)
	ids := make([]uint32, t.Vocab)
	for i := range ids {
		ids[i] = uint32(i)
	}
	for i := range rows {
		rows[i] = row
		rows[i].SeedLo, rows[i].SeedHi, rows[i].Position = uint32(t.seed), uint32(i/10), uint32(i%10)
	}
	rows[0].IdsCount = uint32(t.Vocab)
	results, scores := t.Alloc(8*draws), t.Alloc(4*t.Vocab)
	top, last := t.Alloc(8*draws*shaders.MaxTop), t.Alloc(4)
	if last.Buffer == nil {
		return
	}
	t.dispatches = []compute.Dispatch{shaders.Sample{
		// A stride of zero gives every row the same logits.
		Logits: shaders.Rows{Address: t.rows(logits).Address}, Vocab: t.Vocab, Count: draws,
		Params: cases.Place(t.Setup, rows), Ids: cases.Place(t.Setup, ids), Results: results.Address(), TopOut: top.Address(),
		IdsOut: scores.Address(), LastTokens: last.Address(),
	}.Dispatch(t.Kernels)}
	t.compare = func(label string) (float64, error) {
		want, err := t.want("logprobs", label, 1, t.Vocab)
		if err != nil {
			return 0, err
		}
		probabilities, err := t.want("probabilities", label, 1, t.Vocab)
		if err != nil {
			return 0, err
		}
		got, err := cases.Read[float32](t.Setup, scores, t.Vocab)
		if err != nil {
			return 0, err
		}
		chosen, err := cases.Read[shaders.SampleResult](t.Setup, results, draws)
		if err != nil {
			return 0, err
		}
		worst := cases.RelativeError(got, want.Values)
		for i, c := range chosen {
			worst = max(worst, late(rows[i], probabilities.Values, c.Token))
		}
		return worst, nil
	}
}

// late is by which factor, less one, the token's clock rings later than the first of all tokens' clocks.
func late(row shaders.SampleRow, probabilities []float64, token uint32) float64 {
	if int(token) >= len(probabilities) || probabilities[token] == 0 {
		return math.Inf(1)
	}
	first, own := math.Inf(1), 0.0
	for i, p := range probabilities {
		rings := reference.Clock(uint64(row.SeedHi)<<32|uint64(row.SeedLo), row.Position, uint32(i)) / p
		first = min(first, rings)
		if i == int(token) {
			own = rings
		}
	}
	return own/first - 1
}

// parseFilter reads "temperature 0.7, top_k 20".
func parseFilter(text string) (shaders.SampleRow, error) {
	row := shaders.SampleRow{Target: shaders.SampleToken, Temperature: 1, TopP: 1}
	for _, part := range strings.Split(text, ", ") {
		name, number, _ := strings.Cut(part, " ")
		value, err := strconv.ParseFloat(number, 32)
		if err != nil {
			return row, err
		}
		switch name {
		case "temperature":
			row.Temperature = float32(value)
		case "top_k":
			row.TopK = uint32(value)
		case "top_p":
			row.TopP = float32(value)
		case "min_p":
			row.MinP = float32(value)
		default:
			return row, fmt.Errorf("filter %q", part)
		}
	}
	return row, nil
}
