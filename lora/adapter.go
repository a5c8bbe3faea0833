package lora

import (
	"sync/atomic"

	"lorikeet/shaders"
)

var lastID atomic.Uint64

// Adapter is an adapter in host memory, ready to upload. It does not change.
type Adapter struct {
	Name, Path string
	ID         uint64 // new for each load, never 0
	Rank       int    // the largest of any site
	Products   int    // the most of any site
	Type       shaders.Type
	Sites      []Weights // [Base.Index]
	Targets    Targets   // the sites that it changes
	Pinned     bool      // keeps its place while others are evicted
}

// Weights are the matrices of one site; Rank 0 means that the adapter leaves
// the site alone. Rows are padded with zeros to a multiple of eight elements.
type Weights struct {
	Rank  int
	Scale float32
	A     []byte // [Rank][In]
	B     []byte // [Products][Out], the transpose of PEFT's
	Bias  bool   // the last row of B is lora_bias: Scale · (B(A x) + bias)
}

// Products is how many products the expand sums up: one for each rank, and one
// for a bias.
func (w *Weights) Products() int {
	if w.Bias {
		return w.Rank + 1
	}
	return w.Rank
}

// entry is what the adapter table says of the weights when they lie at these
// addresses.
func (w *Weights) entry(a, b uint64) shaders.AdapterSite {
	return shaders.AdapterSite{A: a, B: b, Rank: uint32(w.Products()), Biases: uint32(w.Products() - w.Rank), Scale: w.Scale}
}

// NewAdapter makes an adapter, with an ID of its own, of the weights of each
// [Base.Index].
func NewAdapter(name, path string, t shaders.Type, sites []Weights, base Base) *Adapter {
	a := &Adapter{Name: name, Path: path, ID: lastID.Add(1), Type: t, Sites: sites}
	for i := range sites {
		if w := &sites[i]; w.Rank > 0 {
			_, s := base.site(i)
			a.Targets[s] = true
			a.Rank, a.Products = max(a.Rank, w.Rank), max(a.Products, w.Products())
		}
	}
	return a
}

// Bytes is what the weights take.
func (a *Adapter) Bytes() int64 {
	var n int64
	for _, w := range a.Sites {
		n += int64(len(w.A) + len(w.B))
	}
	return n
}
