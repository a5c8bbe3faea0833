package model

import (
	"fmt"

	"lorikeet/lora"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// Shape is what one device runs of a model: the whole of it today. Everything
// below takes its sizes from here, never from the checkpoint's configuration.
type Shape struct {
	Layers, Hidden, Inner   int
	Heads, KVHeads, HeadDim int
	Vocab                   int
	Context                 int // positions the rotary table covers
	Type                    shaders.Type
	Eps                     float32
}

// ShapeOf is the shape of a model on one device. context limits the positions;
// 0 takes the checkpoint's.
func ShapeOf(c checkpoint.Config, context int) (Shape, error) {
	s := Shape{
		Layers: c.Layers, Hidden: c.HiddenSize, Inner: c.IntermediateSize,
		Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
		Vocab: c.VocabSize, Context: c.MaxPositions, Eps: float32(c.NormEps),
	}
	if context > 0 {
		s.Context = context
	}
	var err error
	if s.Type, err = typeOf(c.Type); err != nil {
		return s, err
	}
	if s.HeadDim%8 != 0 || s.HeadDim > shaders.MaxHeadDim {
		return s, fmt.Errorf("model: head_dim is %d; the attention kernels take multiples of 8 up to %d", s.HeadDim, shaders.MaxHeadDim)
	}
	if s.Heads/s.KVHeads > shaders.MaxGroup {
		return s, fmt.Errorf("model: %d query heads share a key head; the attention kernels take up to %d", s.Heads/s.KVHeads, shaders.MaxGroup)
	}
	return s, nil
}

func typeOf(t checkpoint.DType) (shaders.Type, error) {
	switch t {
	case checkpoint.F32:
		return shaders.F32, nil
	case checkpoint.F16:
		return shaders.F16, nil
	case checkpoint.BF16:
		return shaders.BF16, nil
	}
	return 0, fmt.Errorf("model: weights of type %v; the kernels take F32, F16 and BF16", t)
}

// QKV is the width of the queries, keys and values of one token.
func (s *Shape) QKV() int { return (s.Heads + 2*s.KVHeads) * s.HeadDim }

// Sites are the dimensions of the modules that adapters can target.
func (s *Shape) Sites() lora.Base {
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	base := lora.Base{Layers: s.Layers, Type: s.Type, Vocab: s.Vocab}
	set := func(site lora.Site, in, out int) { base.In[site], base.Out[site] = in, out }
	set(lora.Q, s.Hidden, q)
	set(lora.K, s.Hidden, kv)
	set(lora.V, s.Hidden, kv)
	set(lora.O, q, s.Hidden)
	set(lora.Gate, s.Hidden, s.Inner)
	set(lora.Up, s.Hidden, s.Inner)
	set(lora.Down, s.Inner, s.Hidden)
	set(lora.EmbedTokens, s.Vocab, s.Hidden)
	set(lora.LMHead, s.Hidden, s.Vocab)
	return base
}

// parameterBytes is about what the weights take on the device.
func (s *Shape) parameterBytes(tied bool) int64 {
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	layer := s.Hidden * (2*q + 2*kv + 3*s.Inner + 2)
	n := int64(s.Layers)*int64(layer) + int64(s.Vocab)*int64(s.Hidden)
	if !tied {
		n += int64(s.Vocab) * int64(s.Hidden)
	}
	return n*int64(s.Type.Size()) + int64(s.Context*s.HeadDim*4)
}

// kvBytes is what the keys (or the values) of one page take in one layer.
func (s *Shape) kvBytes() int64 {
	return int64(PageTokens*s.KVHeads*s.HeadDim) * int64(s.Type.Size())
}

// PageBytes is the size of a page: the keys and values of PageTokens tokens in
// all layers.
func (s *Shape) PageBytes() int64 { return 2 * s.kvBytes() * int64(s.Layers) }

// layerOffset is where a layer's keys begin within a page.
func (s *Shape) layerOffset(layer int) int64 { return 2 * s.kvBytes() * int64(layer) }

// upRow is where the up projection begins behind the gate's, in rows of their matrix and columns of its outputs: at a panel's
// begin.
func (s *Shape) upRow() int {
	return (s.Inner + shaders.PanelRows - 1) / shaders.PanelRows * shaders.PanelRows
}

// pad rounds a width up to the eight elements that one 16-byte load of 16-bit
// weights covers.
func pad(n int) int { return (n + 7) &^ 7 }
