package lora

import "lorikeet/compute"

// matrixAlign is the alignment of every matrix on the device, in bytes.
const matrixAlign = 256

// Memory is the page pool that adapters share with keys and values. It belongs
// to the goroutine that the residency belongs to.
type Memory interface {
	// PageBytes is the size of a page, a multiple of 256.
	PageBytes() int64
	// TakeRun takes n pages that follow each other in number and in address, or
	// none when there are no such pages.
	TakeRun(n int) (first int32, ok bool)
	GiveRun(first int32, n int)
	// Span is the memory of a run.
	Span(first int32, n int) compute.Span
}

// run is pages that follow each other.
type run struct {
	first int32
	pages int
}

// placement is the pages of an adapter and where in them its matrices lie.
type placement struct {
	runs     []run
	matrices []compute.Span // one for each of the sizes asked for
}

// takeMemory finds room for matrices of the given sizes in bytes, or takes
// nothing. Each matrix lies within one run, since kernels walk through it by
// adding a stride. One run for all of them is best; the more scattered the free
// pages are, the shorter the runs, down to what a single matrix needs.
func takeMemory(m Memory, sizes []int) (p placement, ok bool) {
	left := 0
	for _, size := range sizes {
		left += aligned(size)
	}
	most := pagesFor(m, left)
	for len(sizes) > 0 {
		least := pagesFor(m, sizes[0])
		r, ok := takeRun(m, least, max(least, min(most, pagesFor(m, left))))
		if !ok {
			p.give(m)
			return placement{}, false
		}
		most = r.pages // there was no longer one
		p.runs = append(p.runs, r)
		room := m.Span(r.first, r.pages)
		for len(sizes) > 0 && int64(sizes[0]) <= room.Size {
			p.matrices = append(p.matrices, room.Slice(0, int64(sizes[0])))
			used := aligned(sizes[0])
			room = room.Slice(int64(used), room.Size-int64(used))
			left -= used
			sizes = sizes[1:]
		}
	}
	return p, true
}

// takeRun takes a run of about as many pages as there are, between two bounds.
func takeRun(m Memory, least, most int) (run, bool) {
	for n := most; ; n = max(least, n/2) {
		if first, ok := m.TakeRun(n); ok {
			return run{first, n}, true
		}
		if n == least {
			return run{}, false
		}
	}
}

// give returns the pages.
func (p *placement) give(m Memory) {
	for _, r := range p.runs {
		m.GiveRun(r.first, r.pages)
	}
}

// pages counts the pages.
func (p *placement) pages() int {
	n := 0
	for _, r := range p.runs {
		n += r.pages
	}
	return n
}

func pagesFor(m Memory, bytes int) int {
	return int((int64(bytes) + m.PageBytes() - 1) / m.PageBytes())
}

// aligned is what a matrix takes in a run. Pages are whole multiples of the
// alignment, so what is aligned fits where the matrix does.
func aligned(bytes int) int { return (bytes + matrixAlign - 1) &^ (matrixAlign - 1) }

// matrices lists an adapter's matrices: A, then B, of each site that it changes.
func (a *Adapter) matrices() [][]byte {
	var list [][]byte
	for i := range a.Sites {
		if w := &a.Sites[i]; w.Rank > 0 {
			list = append(list, w.A, w.B)
		}
	}
	return list
}

// DeviceBytes is the most an adapter within the limits takes in one run of pages.
func (b Base) DeviceBytes(l Limits) int64 {
	n := 0
	for _, size := range b.sizes(l) {
		n += aligned(size)
	}
	return int64(n)
}

// sizes lists the bytes of the matrices of the largest adapter within limits.
func (b Base) sizes(l Limits) []int {
	var list []int
	for i := range b.SitesPerSlot() {
		if _, s := b.site(i); l.Targets[s] {
			size := b.Type.Size()
			list = append(list, size*l.MaxRank*stride(b.In[s]), size*l.Products()*stride(b.Out[s]))
		}
	}
	return list
}
