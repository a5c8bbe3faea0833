package model

import (
	"fmt"

	"lorikeet/shaders"
)

// PageTokens is the number of tokens whose keys and values one page holds.
const PageTokens = shaders.PageTokens

// Pages hands out the pages of the KV pool by number. It belongs to the
// goroutine that schedules.
type Pages struct {
	free []int32 // a stack: the page freed last is used first
	used []bool
}

// NewPages makes a pool of n free pages.
func NewPages(n int) *Pages {
	p := &Pages{free: make([]int32, n), used: make([]bool, n)}
	for i := range p.free {
		p.free[i] = int32(n - 1 - i)
	}
	return p
}

// PagesFor is the number of pages that hold the given number of tokens.
func PagesFor(tokens int) int { return (tokens + PageTokens - 1) / PageTokens }

// Free counts the free pages.
func (p *Pages) Free() int { return len(p.free) }

// Total counts all pages.
func (p *Pages) Total() int { return len(p.used) }

// Take appends n pages to list. The caller has asked Free first.
func (p *Pages) Take(list []int32, n int) []int32 {
	if n > len(p.free) {
		panic(fmt.Sprintf("model: %d pages taken of %d free", n, len(p.free)))
	}
	cut := len(p.free) - n
	for _, page := range p.free[cut:] {
		p.used[page] = true
	}
	list = append(list, p.free[cut:]...)
	p.free = p.free[:cut]
	return list
}

// Give returns pages to the pool.
func (p *Pages) Give(list []int32) {
	for _, page := range list {
		if !p.used[page] {
			panic(fmt.Sprintf("model: page %d given back twice", page))
		}
		p.used[page] = false
	}
	p.free = append(p.free, list...)
}

// Check says what is wrong with the pool's books, if anything.
func (p *Pages) Check() error {
	used := 0
	for _, u := range p.used {
		if u {
			used++
		}
	}
	if used+len(p.free) != len(p.used) {
		return fmt.Errorf("model: %d pages used and %d free of %d", used, len(p.free), len(p.used))
	}
	for _, page := range p.free {
		if p.used[page] {
			return fmt.Errorf("model: page %d is free and used", page)
		}
	}
	return nil
}
