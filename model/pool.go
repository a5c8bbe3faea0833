package model

import (
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/lora"
)

// pageUnit is the granularity of page addresses: the page table holds a page's
// distance from the pool's base in units of this many bytes.
const pageUnit = 256

// pool is the page pool: device memory that keys, values and adapters share.
// Pages lie in as few buffers as the device allows; the page table holds where.
type pool struct {
	*Pages
	pageBytes int64
	buffers   []*compute.Buffer
	base      uint64
	units     []uint32 // page number -> distance from base in units
}

// newPool allocates n pages.
func newPool(d *compute.Device, n int, pageBytes int64) (*pool, error) {
	perBuffer := int(max(1, d.Info().MaxAllocation/pageBytes))
	p := &pool{Pages: NewPages(n, perBuffer), pageBytes: pageBytes, base: math.MaxUint64}
	for left := n; left > 0; left -= perBuffer {
		b, err := d.Allocate(int64(min(left, perBuffer))*pageBytes, compute.Private)
		if err != nil {
			p.release()
			return nil, fmt.Errorf("model: %d pages of %d bytes; lower --max-total-tokens or --mem-fraction-static: %w", n, pageBytes, err)
		}
		p.buffers = append(p.buffers, b)
		p.base = min(p.base, b.Address())
	}
	p.units = make([]uint32, n)
	for page := range p.units {
		distance := p.Span(int32(page), 1).Address() - p.base
		if distance/pageUnit > math.MaxUint32 {
			p.release()
			return nil, fmt.Errorf("model: the pages lie %d bytes apart, the page table reaches %d; lower --max-total-tokens", distance, int64(math.MaxUint32)*pageUnit)
		}
		p.units[page] = uint32(distance / pageUnit)
	}
	return p, nil
}

// PageBytes is the size of a page.
func (p *pool) PageBytes() int64 { return p.pageBytes }

// Span is the memory of n pages that TakeRun handed out together.
func (p *pool) Span(first int32, n int) compute.Span {
	b := p.buffers[int(first)/p.perBuffer]
	return b.All().Slice(int64(int(first)%p.perBuffer)*p.pageBytes, int64(n)*p.pageBytes)
}

// entry is what the page table holds for a page.
func (p *pool) entry(page int32) uint32 { return p.units[page] }

func (p *pool) release() {
	for _, b := range p.buffers {
		b.Release()
	}
}

// Pages is the allocator of the page pool.
func (m *Llama) Pages() *Pages { return m.pool.Pages }

// AdapterMemory is the page pool as adapters see it.
func (m *Llama) AdapterMemory() lora.Memory { return m.pool }
