package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// base stands for the base model where an adapter's number is expected.
const base = -1

// stays is the Leave of a client that waits for its whole answer.
const stays = -1

// plan is what a trace is drawn from.
type plan struct {
	seed       uint64
	requests   int
	adapters   int // names; 0 asks the base model only
	folders    int // that the names stand for; name i begins as folder i mod folders
	popularity popularity
	base       float64 // share of requests without an adapter
	arrivals   arrivals
	input      lengths
	output     lengths
	prompts    [][]int32 // to choose from; nil draws them
	pool       int       // how many prompts to draw; 0 draws one for each request
	prefix     int       // tokens with which all drawn prompts begin
	vocab      int       // drawn token ids are below it
	leave      float64   // share of clients that leave early
	swapEvery  int       // requests between two swaps; 0: no swaps
	swapFrom   int       // the first adapter that is swapped
}

// trace is what a run asks of a server. The same plan makes the same trace.
type trace struct {
	prompts  [][]int32
	requests []request // in order of arrival
	swaps    []swap
}

// request is one request and what its client does.
type request struct {
	at      time.Duration // after the start
	adapter int           // a name's number, or base
	prompt  int           // index into prompts
	output  int           // tokens of the answer
	leave   int           // tokens after which the client leaves, 0 as soon as it has asked; stays: never
}

// swap gives an adapter's name to another folder while requests go on.
type swap struct {
	after   int // requests sent before
	adapter int
	by      int  // how many folders on from the one that it has
	upsert  bool // in one call; else it is unloaded, then loaded
}

// lengths is a range of token counts, both ends in it.
type lengths struct{ least, most int }

// parseLengths reads N or LEAST-MOST.
func parseLengths(text string) (lengths, error) {
	first, second, ranged := strings.Cut(text, "-")
	if !ranged {
		second = first
	}
	least, err1 := strconv.Atoi(first)
	most, err2 := strconv.Atoi(second)
	if err1 != nil || err2 != nil || least < 1 || most < least {
		return lengths{}, fmt.Errorf("length %q: want N or LEAST-MOST, from 1 on", text)
	}
	return lengths{least, most}, nil
}

func (l lengths) draw(r *rand.Rand) int { return l.least + r.IntN(l.most-l.least+1) }

// Each aspect of a trace has random numbers of its own, so that changing one leaves the others as they were.
const (
	ofAdapters = iota
	ofArrivals
	ofLengths
	ofPrompts
	ofLeaving
	ofSwaps
)

func (p *plan) random(aspect uint64) *rand.Rand { return rand.New(rand.NewPCG(p.seed, aspect)) }

// draw makes the trace of a plan.
func (p *plan) draw() *trace {
	t := &trace{prompts: p.prompts}
	adapters := p.random(ofAdapters)
	popular := p.popularity.over(max(1, p.adapters), adapters)
	next := p.arrivals.times(p.random(ofArrivals))
	sizes, prompts, leaving := p.random(ofLengths), p.random(ofPrompts), p.random(ofLeaving)
	if t.prompts == nil {
		t.prompts = p.drawPrompts(prompts)
	}
	repeat := p.prompts != nil || p.pool > 0
	for i := range p.requests {
		r := request{at: next(), adapter: base, prompt: i, output: p.output.draw(sizes), leave: stays}
		if repeat {
			r.prompt = prompts.IntN(len(t.prompts))
		}
		if p.adapters > 0 && adapters.Float64() >= p.base {
			r.adapter = popular()
		}
		if leaving.Float64() < p.leave {
			r.leave = leaving.IntN(r.output)
		}
		t.requests = append(t.requests, r)
	}
	t.swaps = p.drawSwaps()
	return t
}

// drawPrompts draws random tokens after a common prefix.
func (p *plan) drawPrompts(r *rand.Rand) [][]int32 {
	n := p.pool
	if n == 0 {
		n = p.requests
	}
	prefix := p.tokens(r, p.prefix)
	list := make([][]int32, n)
	for i := range list {
		size := max(1, p.input.draw(r)-p.prefix)
		list[i] = append(append(list[i], prefix...), p.tokens(r, size)...)
	}
	return list
}

func (p *plan) tokens(r *rand.Rand, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = r.Int32N(int32(p.vocab))
	}
	return ids
}

// drawSwaps draws names that take turns, for each the folder that it gets, and in how many calls. With one folder alone
// it is always one: a server refuses to load what it has already.
func (p *plan) drawSwaps() []swap {
	if p.swapEvery == 0 || p.adapters == 0 {
		return nil
	}
	r := p.random(ofSwaps)
	var list []swap
	for after := p.swapEvery; after <= p.requests; after += p.swapEvery {
		s := swap{after: after, adapter: p.swapFrom + r.IntN(p.adapters-p.swapFrom), upsert: true}
		if p.folders > 1 {
			s.by, s.upsert = 1+r.IntN(p.folders-1), r.IntN(2) == 0
		}
		list = append(list, s)
	}
	return list
}
