package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// arrivals is when requests are sent.
type arrivals struct {
	rate    float64 // requests per second; 0: all at once, or as streams allows
	cv      float64 // coefficient of variation of the gaps: 1 is Poisson, more is bursty
	streams int     // closed loop: so many requests at a time; 0: they do not wait for each other
}

// parseArrivals reads one of
//
//	poisson:RATE      RATE requests per second with independent gaps
//	bursty:RATE,CV    Gamma distributed gaps whose deviation is CV times their mean
//	closed:N          N streams, each of which sends its next request when it has its answer
//	saturation        everything at once
func parseArrivals(text string) (arrivals, error) {
	wrong := fmt.Errorf("arrivals %q: want poisson:RATE, bursty:RATE,CV, closed:STREAMS or saturation", text)
	law, numbers, _ := strings.Cut(text, ":")
	switch law {
	case "poisson":
		rate, err := positive(numbers)
		if err != nil {
			return arrivals{}, wrong
		}
		return arrivals{rate: rate, cv: 1}, nil
	case "bursty":
		first, second, _ := strings.Cut(numbers, ",")
		rate, err1 := positive(first)
		cv, err2 := positive(second)
		if err1 != nil || err2 != nil {
			return arrivals{}, wrong
		}
		return arrivals{rate: rate, cv: cv}, nil
	case "closed":
		n, err := strconv.Atoi(numbers)
		if err != nil || n < 1 {
			return arrivals{}, wrong
		}
		return arrivals{streams: n}, nil
	case "saturation":
		if numbers == "" {
			return arrivals{}, nil
		}
	}
	return arrivals{}, wrong
}

func positive(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && (!(v > 0) || math.IsInf(v, 0)) {
		err = strconv.ErrRange
	}
	return v, err
}

// times returns what draws when the next request is sent, after the start of the run. Gaps are Gamma distributed with
// mean 1/rate and shape 1/cv²; shape 1 is the exponential distribution of a Poisson process.
func (a arrivals) times(r *rand.Rand) func() time.Duration {
	if a.rate == 0 {
		return func() time.Duration { return 0 }
	}
	shape := 1 / (a.cv * a.cv)
	gap := distuv.Gamma{Alpha: shape, Beta: shape * a.rate, Src: r}
	at := 0.0
	return func() time.Duration {
		at += gap.Rand()
		return time.Duration(at * float64(time.Second))
	}
}
