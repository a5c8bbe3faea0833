package lora

import "lorikeet/shaders"

// Adapter is an adapter in host memory, ready to upload. It does not change.
type Adapter struct {
	Name, Path string
	ID         uint64 // new for each load, never 0
	Rank       int    // the largest of any site
	Type       shaders.Type
	Sites      []Weights // [layer*Sites + site]
	Pinned     bool      // keeps its place while others are evicted
}

// Weights are the matrices of one site; Rank 0 means that the adapter leaves
// the site alone. Rows are padded with zeros to a multiple of eight elements.
type Weights struct {
	Rank  int
	Scale float32
	A     []byte // [Rank][In]
	B     []byte // [Rank][Out], the transpose of PEFT's
}

// Bytes is what the weights take.
func (a *Adapter) Bytes() int64 {
	var n int64
	for _, w := range a.Sites {
		n += int64(len(w.A) + len(w.B))
	}
	return n
}
