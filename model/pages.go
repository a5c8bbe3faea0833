package model

import (
	"fmt"
	"math/bits"

	"lorikeet/shaders"
)

// PageTokens is the number of tokens whose keys and values one page holds.
const PageTokens = shaders.PageTokens

// PagesFor is the number of pages that hold the given number of tokens.
func PagesFor(tokens int) int { return (tokens + PageTokens - 1) / PageTokens }

// Pages hands out the pages of the pool by number: single ones for keys and
// values, from the low end, and runs of neighbours for adapters, from the high
// end, so that single pages leave the runs whole for as long as they can. It
// belongs to the goroutine that schedules.
type Pages struct {
	free      []uint64 // one bit for each page, set while it is free
	count     int      // of the bits set
	total     int
	perBuffer int
	low       int // words before this one have no free page
}

// NewPages makes an allocator of n free pages, each perBuffer of which lie in a
// buffer of their own.
func NewPages(n, perBuffer int) *Pages {
	p := &Pages{free: make([]uint64, (n+63)/64), count: n, total: n, perBuffer: perBuffer}
	for page := range n {
		p.free[page/64] |= 1 << (page % 64)
	}
	return p
}

// Free counts the free pages.
func (p *Pages) Free() int { return p.count }

// Total counts all pages.
func (p *Pages) Total() int { return p.total }

// IsFree says whether nobody holds a page.
func (p *Pages) IsFree(page int32) bool { return p.free[page/64]>>(page%64)&1 != 0 }

// Take appends n pages to list. The caller has asked Free first.
func (p *Pages) Take(list []int32, n int) []int32 {
	if n > p.count {
		panic(fmt.Sprintf("model: %d pages taken of %d free", n, p.count))
	}
	p.count -= n
	for ; n > 0; n-- {
		for p.free[p.low] == 0 {
			p.low++
		}
		bit := bits.TrailingZeros64(p.free[p.low])
		p.free[p.low] &^= 1 << bit
		list = append(list, int32(64*p.low+bit))
	}
	return list
}

// TakeRun takes n pages that follow each other in number and in address, or
// none when there are no such pages.
func (p *Pages) TakeRun(n int) (first int32, ok bool) {
	at := p.findRun(n)
	if at < 0 {
		return 0, false
	}
	for page := at; page < at+n; page++ {
		p.free[page/64] &^= 1 << (page % 64)
	}
	p.count -= n
	return int32(at), true
}

// findRun is the first page of the highest run of n free pages, -1 without one.
func (p *Pages) findRun(n int) int {
	run := 0 // free pages from page+1 on
	for page := p.total - 1; page >= 0; {
		if whole := p.free[page/64]; page%64 == 63 && page%p.perBuffer >= 63 && ^whole != 0 &&
			run+bits.LeadingZeros64(^whole) < n && !hasRun(whole, n) {
			// No run ends here; one may begin, at the lowest pages of the word.
			run = bits.TrailingZeros64(^whole)
			page -= 64
			if (page+1)%p.perBuffer == 0 {
				run = 0
			}
			continue
		}
		word := p.free[page/64] << (63 - page%64) // the top bit is page's
		if taken := bits.LeadingZeros64(word); taken > 0 {
			run = 0
			page -= min(taken, page%64+1)
			continue
		}
		step := min(bits.LeadingZeros64(^word), page%p.perBuffer+1)
		run += step
		page -= step
		if run >= n {
			return page + 1 + run - n
		}
		if (page+1)%p.perBuffer == 0 {
			run = 0
		}
	}
	return -1
}

// hasRun says whether a word has n set bits in a row; not all of its bits are
// set.
func hasRun(word uint64, n int) bool {
	for n > 1 && word != 0 {
		step := n / 2
		word &= word << step
		n -= step
	}
	return word != 0
}

// Give returns pages to the pool.
func (p *Pages) Give(list []int32) {
	for _, page := range list {
		p.give(int(page))
	}
}

// GiveRun returns n pages from first on.
func (p *Pages) GiveRun(first int32, n int) {
	for page := int(first); page < int(first)+n; page++ {
		p.give(page)
	}
}

func (p *Pages) give(page int) {
	if page >= p.total || p.free[page/64]>>(page%64)&1 != 0 {
		panic(fmt.Sprintf("model: page %d given back, which nobody had", page))
	}
	p.free[page/64] |= 1 << (page % 64)
	p.low = min(p.low, page/64)
	p.count++
}

// Check says what is wrong with the pool's books, if anything.
func (p *Pages) Check() error {
	free := 0
	for i, word := range p.free {
		if i < p.low && word != 0 {
			return fmt.Errorf("model: of pages %d to %d some are free, below the lowest free one", 64*i, 64*i+63)
		}
		free += bits.OnesCount64(word)
	}
	if free != p.count {
		return fmt.Errorf("model: %d pages are free, %d by count", free, p.count)
	}
	return nil
}
