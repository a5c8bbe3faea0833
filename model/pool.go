package model

import (
	"fmt"
	"math"

	"lorikeet/compute"
)

// pageUnit is the granularity of page addresses: the page table holds a page's
// distance from the pool's base in units of this many bytes.
const pageUnit = 256

// pool is the device memory of the KV pages. Pages lie in as few buffers as the
// device allows; the page table holds where.
type pool struct {
	buffers []*compute.Buffer
	base    uint64
	pages   []uint32 // page number -> distance from base in units
}

// newPool allocates n pages.
func newPool(d *compute.Device, n int, pageBytes int64) (*pool, error) {
	pageBytes = (pageBytes + pageUnit - 1) / pageUnit * pageUnit
	perBuffer := max(1, d.Info().MaxAllocation/pageBytes)
	p := &pool{base: math.MaxUint64}
	var starts []uint64
	for left := int64(n); left > 0; left -= perBuffer {
		count := min(left, perBuffer)
		b, err := d.Allocate(count*pageBytes, compute.Private)
		if err != nil {
			p.release()
			return nil, fmt.Errorf("model: %d KV pages of %d bytes; lower --max-total-tokens or --mem-fraction-static: %w", n, pageBytes, err)
		}
		p.buffers = append(p.buffers, b)
		p.base = min(p.base, b.Address())
		for i := range count {
			starts = append(starts, b.Address()+uint64(i*pageBytes))
		}
	}
	for _, s := range starts {
		units := (s - p.base) / pageUnit
		if units > math.MaxUint32 {
			p.release()
			return nil, fmt.Errorf("model: the KV pages lie %d bytes apart, the page table reaches %d; lower --max-total-tokens", s-p.base, int64(math.MaxUint32)*pageUnit)
		}
		p.pages = append(p.pages, uint32(units))
	}
	return p, nil
}

// entry is what the page table holds for a page.
func (p *pool) entry(page int32) uint32 { return p.pages[page] }

func (p *pool) release() {
	for _, b := range p.buffers {
		b.Release()
	}
}
