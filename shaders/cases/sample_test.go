package cases

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

// draw samples one token per row, all rows from the same logits, and returns results and last tokens by row.
func draw(t *testing.T, logits []float32, rows []shaders.SampleRow) ([]shaders.SampleResult, []uint32) {
	t.Helper()
	device := computetest.Device(t)
	var results, last compute.Span
	build := func(s *Setup) Run {
		for i := range rows {
			rows[i].Lane = uint32(i)
		}
		results, last = s.Alloc(8*len(rows)), s.Alloc(4*len(rows))
		stride := Pad8(len(logits))
		all := make([]float32, stride*len(rows))
		for i := range rows {
			copy(all[i*stride:], logits)
		}
		op := shaders.Sample{
			Logits: shaders.Rows{Address: Place(s, all), Stride: stride}, Vocab: len(logits), Count: len(rows),
			Params: Place(s, rows), Results: address(results), LastTokens: address(last),
		}
		return Run{Dispatches: []compute.Dispatch{op.Dispatch(s.Kernels)}}
	}
	run, setup, err := Case{Build: build}.Prepare(device, shaders.New(device), 0)
	require.NoError(t, err)
	defer setup.Close()
	execute(t, device, "draw", run)
	got, err := Read[shaders.SampleResult](setup, results, len(rows))
	require.NoError(t, err)
	tokens, err := Read[uint32](setup, last, len(rows))
	require.NoError(t, err)
	return got, tokens
}

// TestDrawFollowsDistribution draws with one seed at many positions and at one position with many seeds, and holds the
// counts against the filtered distribution.
func TestDrawFollowsDistribution(t *testing.T) {
	logits := []float32{0.5, -1, 2, 1.5, 1.5, -3, 0, 1, -0.5, 0.25, 1.75, -2}
	const draws = 800
	for name, row := range map[string]shaders.SampleRow{
		"all":            {TopP: 1, Temperature: 1.2},
		"top-k 5":        {TopP: 1, Temperature: 1, TopK: 5},
		"top-p and min":  {TopP: 0.9, Temperature: 0.9, MinP: 0.1},
		"same as greedy": {TopP: 1, Temperature: 1, TopK: 1},
	} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			rows := make([]shaders.SampleRow, draws)
			for i := range rows {
				rows[i] = row
				rows[i].Target = shaders.SampleToken
				rows[i].SeedLo, rows[i].SeedHi, rows[i].Position = uint32(seed), uint32(seed>>32), uint32(i)
				if i%2 == 1 {
					rows[i].SeedLo, rows[i].Position = uint32(seed)+uint32(i), 7
				}
			}
			results, last := draw(t, logits, rows)
			counts := make([]float64, len(logits))
			for i, r := range results {
				require.Equal(t, r.Token, last[i])
				counts[r.Token]++
			}
			statistic, freedom := chiSquare(counts, keptProbabilities(logits, row), draws)
			// Wilson and Hilferty: the cube root of a chi-square variable is nearly normal.
			spread := 2 / (9 * max(freedom, 1))
			deviation := (math.Cbrt(statistic/max(freedom, 1)) - (1 - spread)) / math.Sqrt(spread)
			require.Less(t, deviation, 5.0, "seed %d: counts %v", seed, counts)

			again, _ := draw(t, logits, rows)
			require.Equal(t, results, again, "a draw depends on its seed and position alone")
		})
	}
}

// keptProbabilities is the distribution that the row's filter leaves.
func keptProbabilities(logits []float32, row shaders.SampleRow) []float64 {
	values := make([]float64, len(logits))
	for i, v := range logits {
		values[i] = float64(v)
	}
	filter := reference.Filter{
		Temperature: float64(row.Temperature), TopK: int(row.TopK), TopP: float64(row.TopP), MinP: float64(row.MinP),
	}
	p := reference.LogSoftmax(values, filter.Temperature)
	var total float64
	for i, kept := range filter.Kept(values) {
		p[i] = math.Exp(p[i])
		if !kept {
			p[i] = 0
		}
		total += p[i]
	}
	for i := range p {
		p[i] /= total
	}
	return p
}

// chiSquare returns the statistic and its degrees of freedom, +Inf for a token that should never be drawn.
func chiSquare(counts, probabilities []float64, draws float64) (statistic, freedom float64) {
	freedom = -1
	for i, p := range probabilities {
		switch {
		case p > 0:
			statistic += (counts[i] - draws*p) * (counts[i] - draws*p) / (draws * p)
			freedom++
		case counts[i] > 0:
			return math.Inf(1), 1
		}
	}
	return statistic, freedom
}

func TestSampleOddLogits(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		logits  []float32
		token   uint32
		logprob float64
	}{
		"NaN does not win":          {[]float32{1, nan, 3, nan}, 2, math.NaN()},
		"minus infinity":            {[]float32{-inf, -inf, 5, -inf, -inf}, 2, 0},
		"nothing but -inf":          {[]float32{-inf, -inf}, 0, math.NaN()},
		"nothing but NaN":           {[]float32{nan, nan, nan}, 0, math.NaN()},
		"infinity":                  {[]float32{1, inf, 2}, 1, math.NaN()},
		"lowest of equals":          {[]float32{0, 7, 7, 7, 1}, 1, -math.Log(3 + math.Exp(-7) + math.Exp(-6))},
		"zeros of either sign":      {[]float32{-1e30, float32(math.Copysign(0, -1)), 0}, 1, -math.Log(2)},
		"huge":                      {[]float32{-3e38, 3e38, 0}, 1, 0},
		"one token":                 {[]float32{-4}, 0, 0},
		"negative, nearer than pad": {[]float32{-9, -8, -7}, 2, -math.Log(1 + math.Exp(-1) + math.Exp(-2))},
	} {
		t.Run(name, func(t *testing.T) {
			results, last := draw(t, c.logits, []shaders.SampleRow{
				{Target: shaders.SampleToken, TopP: 1},
				{Target: shaders.SampleToken, TopP: 1, Temperature: 1e-6},
				{Target: shaders.SampleToken, TopP: 0.5, Temperature: 1e-6, TopK: 2, MinP: 0.5},
			})
			require.Equal(t, c.token, results[0].Token)
			require.Equal(t, c.token, last[0])
			if math.IsNaN(c.logprob) {
				require.True(t, math.IsNaN(float64(results[0].Logprob)), "logprob %v", results[0].Logprob)
			} else {
				require.InDelta(t, c.logprob, results[0].Logprob, 1e-6)
			}
			for _, r := range results[1:] {
				require.Equal(t, math.Float32bits(c.logits[c.token])<<1, math.Float32bits(c.logits[r.Token])<<1,
					"token %d at a temperature near zero, seed 0", r.Token)
			}
		})
	}
}
