package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"
)

// popularity is how requests spread over n adapters, of which 0 is the most wanted.
type popularity struct {
	law      string  // "zipf", "power", "uniform", "identical" or "distinct"
	exponent float64 // of zipf and power
}

// parsePopularity reads one of
//
//	zipf:S      adapter k is asked for in proportion to 1/(k+1)^S
//	power:A     k = ⌊n·u^(1/A)⌋ with u uniform in [0, 1), the law of S-LoRA's traces; small A is skewed, 1 is uniform
//	uniform     every adapter alike
//	identical   the first adapter alone
//	distinct    every adapter in turn
func parsePopularity(text string) (popularity, error) {
	law, number, given := strings.Cut(text, ":")
	p := popularity{law: law}
	switch law {
	case "uniform", "identical", "distinct":
		if given {
			return p, fmt.Errorf("popularity %q: %s takes no number", text, law)
		}
		return p, nil
	case "zipf", "power":
		var err error
		if p.exponent, err = strconv.ParseFloat(number, 64); err != nil || !(p.exponent > 0) || math.IsInf(p.exponent, 0) {
			return p, fmt.Errorf("popularity %q: want %s:EXPONENT with an exponent above 0", text, law)
		}
		return p, nil
	}
	return p, fmt.Errorf("popularity %q: want zipf:S, power:A, uniform, identical or distinct", text)
}

// over returns what draws the adapter of the next request out of n.
func (p popularity) over(n int, r *rand.Rand) func() int {
	switch p.law {
	case "identical":
		return func() int { return 0 }
	case "distinct":
		next := -1
		return func() int { next++; return next % n }
	case "power":
		return func() int { return min(n-1, int(float64(n)*math.Pow(r.Float64(), 1/p.exponent))) }
	case "zipf":
		weights := make([]float64, n)
		for k := range weights {
			weights[k] = math.Pow(float64(k+1), -p.exponent)
		}
		law := distuv.NewCategorical(weights, r)
		return func() int { return int(law.Rand()) }
	}
	return func() int { return r.IntN(n) }
}
