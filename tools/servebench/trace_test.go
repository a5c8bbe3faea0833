package main

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testPlan() plan {
	return plan{
		seed: 7, requests: 20000, adapters: 50, folders: 3, popularity: popularity{law: "zipf", exponent: 1.5}, base: 0.25,
		arrivals: arrivals{rate: 8, cv: 3}, input: lengths{10, 30}, output: lengths{1, 9}, pool: 40, prefix: 5, vocab: 100,
		leave: 0.1, swapEvery: 100,
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	p, q := testPlan(), testPlan()
	require.Equal(t, p.draw(), q.draw())
	q.seed++
	require.NotEqual(t, p.draw().requests, q.draw().requests)
}

// Changing one aspect leaves the others as they were, so that runs can be compared.
func TestAspectsAreDrawnApart(t *testing.T) {
	p, q := testPlan(), testPlan()
	q.arrivals, q.leave, q.swapEvery = arrivals{streams: 4}, 0, 0
	one, other := p.draw(), q.draw()
	require.Equal(t, one.prompts, other.prompts)
	for i, r := range one.requests {
		r.at, r.leave = other.requests[i].at, other.requests[i].leave
		require.Equal(t, r, other.requests[i])
	}
}

func TestTraceKeepsItsPlan(t *testing.T) {
	p := testPlan()
	trace := p.draw()
	require.Len(t, trace.prompts, p.pool)
	for _, prompt := range trace.prompts {
		require.Equal(t, trace.prompts[0][:p.prefix], prompt[:p.prefix])
		require.GreaterOrEqual(t, len(prompt), p.input.least)
		require.LessOrEqual(t, len(prompt), p.input.most)
	}
	var ofBase, leavers float64
	last := time.Duration(0)
	for _, r := range trace.requests {
		require.GreaterOrEqual(t, r.at, last)
		require.Less(t, r.leave, r.output)
		require.LessOrEqual(t, r.output, p.output.most)
		last = r.at
		if r.adapter == base {
			ofBase++
		}
		if r.leave != stays {
			leavers++
		}
	}
	n := float64(p.requests)
	require.InDelta(t, p.base, ofBase/n, 0.02)
	require.InDelta(t, p.leave, leavers/n, 0.02)
	require.InEpsilon(t, n/p.arrivals.rate, last.Seconds(), 0.1)
	require.Len(t, trace.swaps, p.requests/p.swapEvery)
	for i, s := range trace.swaps {
		require.Equal(t, (i+1)*p.swapEvery, s.after)
		require.Less(t, s.adapter, p.adapters)
		require.Less(t, s.by, p.folders)
		require.NotZero(t, s.by, "another folder")
	}
}

func TestPromptForEachRequest(t *testing.T) {
	p := testPlan()
	p.requests, p.pool, p.adapters = 10, 0, 0
	trace := p.draw()
	require.Len(t, trace.prompts, 10)
	require.Empty(t, trace.swaps)
	for i, r := range trace.requests {
		require.Equal(t, i, r.prompt)
		require.Equal(t, base, r.adapter)
	}
}

// shares counts how often each of n adapters is drawn.
func shares(t *testing.T, text string, n, draws int) []float64 {
	law, err := parsePopularity(text)
	require.NoError(t, err)
	p := plan{seed: 3}
	next := law.over(n, p.random(ofAdapters))
	list := make([]float64, n)
	for range draws {
		list[next()] += 1 / float64(draws)
	}
	return list
}

func TestPopularity(t *testing.T) {
	const n, draws = 10, 100000
	require.InDelta(t, 1, shares(t, "identical", n, draws)[0], 1e-6)
	power, zipf := shares(t, "power:0.5", n, draws), shares(t, "zipf:1.5", n, draws)
	uniform, distinct := shares(t, "uniform", n, draws), shares(t, "distinct", n, draws)
	sum := 0.0
	for k := range n {
		sum += math.Pow(float64(k+1), -1.5)
	}
	for k := range n {
		require.InDelta(t, 0.1, uniform[k], 0.01)
		require.InDelta(t, 0.1, distinct[k], 1e-6)
		require.InDelta(t, math.Pow(float64(k+1), -1.5)/sum, zipf[k], 0.01)
		require.InDelta(t, math.Sqrt(float64(k+1)/n)-math.Sqrt(float64(k)/n), power[k], 0.01)
	}
}

// The gaps of a bursty process have the mean and the deviation that were asked for.
func TestArrivals(t *testing.T) {
	for _, text := range []string{"poisson:5", "bursty:5,0.5", "bursty:5,3"} {
		a, err := parseArrivals(text)
		require.NoError(t, err)
		p := plan{seed: 3}
		next := a.times(p.random(ofArrivals))
		const n = 200000
		var sum, squares, last float64
		for range n {
			at := next().Seconds()
			sum, squares, last = sum+at-last, squares+(at-last)*(at-last), at
		}
		mean := sum / n
		require.InEpsilon(t, 1/a.rate, mean, 0.05, text)
		require.InEpsilon(t, a.cv, math.Sqrt(squares/n-mean*mean)/mean, 0.05, text)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, args := range [][]string{
		{"-popularity", "zipf"}, {"-popularity", "zipf:0"}, {"-popularity", "uniform:1"}, {"-popularity", "fair"},
		{"-arrivals", "poisson"}, {"-arrivals", "poisson:-1"}, {"-arrivals", "bursty:3"}, {"-arrivals", "closed:0"}, {"-arrivals", "saturation:1"},
		{"-input", "0"}, {"-output", "9-8"}, {"-output", "x"}, {"-requests", "0"}, {"-adapters", "3"}, {"-check"}, {"-check", "-pool", "1", "-registered"}, {"-make", "1"},
		{"-prompts", "/no/such/file"},
	} {
		_, err := parseOptions(args)
		require.Error(t, err, args)
	}
}
