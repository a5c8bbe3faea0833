package model

import (
	"fmt"
	"math"

	"lorikeet/lora"
	"lorikeet/model/checkpoint"
)

// reference is a Llama in float64, written plainly: the oracle for whole models.
type reference struct {
	config checkpoint.Config
	tensor map[string][]float64
}

func newReference(c checkpoint.Config, tensors []checkpoint.Tensor) *reference {
	r := &reference{config: c, tensor: map[string][]float64{}}
	for _, t := range tensors {
		r.tensor[t.Name] = floats(t.Data, t.Type)
	}
	return r
}

// floats reads stored values exactly.
func floats(data []byte, t checkpoint.DType) []float64 {
	from, err := typeOf(t)
	if err != nil {
		panic(err)
	}
	values := from.Decode(data)
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

// logits runs a whole sequence and returns the logits after every token.
func (r *reference) logits(tokens []int32, adapter *lora.Adapter) [][]float64 {
	c := r.config
	h := make([][]float64, len(tokens))
	for t, id := range tokens {
		h[t] = append([]float64{}, r.tensor["model.embed_tokens.weight"][int(id)*c.HiddenSize:int(id+1)*c.HiddenSize]...)
		oneHot := make([]float64, c.VocabSize)
		oneHot[id] = 1
		r.addDelta(h[t], oneHot, 0, lora.EmbedTokens, adapter)
	}
	for l := range c.Layers {
		r.layer(l, h, adapter)
	}
	head := r.tensor["lm_head.weight"]
	if head == nil {
		head = r.tensor["model.embed_tokens.weight"]
	}
	out := make([][]float64, len(tokens))
	for t := range h {
		x := r.norm("model.norm", h[t])
		out[t] = times(head, x)
		r.addDelta(out[t], x, 0, lora.LMHead, adapter)
	}
	return out
}

func (r *reference) layer(l int, h [][]float64, adapter *lora.Adapter) {
	c := r.config
	group := c.Heads / c.KVHeads
	name := func(s string) string { return fmt.Sprintf("model.layers.%d.%s", l, s) }
	project := func(site lora.Site, tensor string, x []float64) []float64 {
		y := times(r.tensor[name(tensor)+".weight"], x)
		r.addDelta(y, x, l, site, adapter)
		return y
	}
	frequencies := checkpoint.RopeFrequencies(c)
	keys, values := make([][]float64, len(h)), make([][]float64, len(h))
	for t := range h {
		x := r.norm(name("input_layernorm"), h[t])
		q := project(lora.Q, "self_attn.q_proj", x)
		keys[t] = project(lora.K, "self_attn.k_proj", x)
		values[t] = project(lora.V, "self_attn.v_proj", x)
		rotate(q, frequencies, t, c.HeadDim)
		rotate(keys[t], frequencies, t, c.HeadDim)
		attended := make([]float64, len(q))
		for head := range c.Heads {
			kv := head / group * c.HeadDim
			attend(attended[head*c.HeadDim:(head+1)*c.HeadDim], q[head*c.HeadDim:], keys[:t+1], values[:t+1], kv)
		}
		add(h[t], project(lora.O, "self_attn.o_proj", attended))
	}
	for t := range h {
		x := r.norm(name("post_attention_layernorm"), h[t])
		gate, up := project(lora.Gate, "mlp.gate_proj", x), project(lora.Up, "mlp.up_proj", x)
		for i, g := range gate {
			gate[i] = g / (1 + math.Exp(-g)) * up[i]
		}
		add(h[t], project(lora.Down, "mlp.down_proj", gate))
	}
}

func (r *reference) norm(name string, x []float64) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	inv := 1 / math.Sqrt(sum/float64(len(x))+r.config.NormEps)
	out := make([]float64, len(x))
	for i, w := range r.tensor[name+".weight"] {
		out[i] = x[i] * inv * w
	}
	return out
}

func times(w, x []float64) []float64 {
	out := make([]float64, len(w)/len(x))
	for n := range out {
		for k, v := range x {
			out[n] += w[n*len(x)+k] * v
		}
	}
	return out
}

func add(x, y []float64) {
	for i := range x {
		x[i] += y[i]
	}
}

// addDelta adds scale · (B(A·x) + bias), reading the adapter as it lies on the
// device: A [rank][in], B transposed [rank][out] with the bias behind it, rows
// padded to eight.
func (r *reference) addDelta(y, x []float64, layer int, site lora.Site, adapter *lora.Adapter) {
	if adapter == nil {
		return
	}
	w := adapter.Sites[lora.Base{Layers: r.config.Layers}.Index(layer, site)]
	if w.Rank == 0 {
		return
	}
	a, b := adapter.Type.Decode(w.A), adapter.Type.Decode(w.B)
	for r := range w.Products() {
		hidden := 1.0
		if r < w.Rank {
			hidden = 0
			for k, v := range x {
				hidden += float64(a[r*pad(len(x))+k]) * v
			}
		}
		for n := range y {
			y[n] += float64(w.Scale) * float64(b[r*pad(len(y))+n]) * hidden
		}
	}
}

func rotate(x []float64, frequencies []float64, position, dim int) {
	for head := 0; head < len(x); head += dim {
		for i, f := range frequencies {
			sin, cos := math.Sincos(float64(position) * f)
			a, b := x[head+i], x[head+i+dim/2]
			x[head+i], x[head+i+dim/2] = a*cos-b*sin, b*cos+a*sin
		}
	}
}

func attend(out, q []float64, keys, values [][]float64, kv int) {
	dim := len(out)
	scores := make([]float64, len(keys))
	highest := math.Inf(-1)
	for t, k := range keys {
		for i := range dim {
			scores[t] += q[i] * k[kv+i]
		}
		scores[t] /= math.Sqrt(float64(dim))
		highest = max(highest, scores[t])
	}
	sum := 0.0
	for t := range scores {
		scores[t] = math.Exp(scores[t] - highest)
		sum += scores[t]
	}
	for t, v := range values {
		for i := range dim {
			out[i] += scores[t] / sum * v[kv+i]
		}
	}
}

// logSoftmax turns logits into log probabilities.
func logSoftmax(logits []float64) []float64 {
	highest, sum := math.Inf(-1), 0.0
	for _, v := range logits {
		highest = max(highest, v)
	}
	for _, v := range logits {
		sum += math.Exp(v - highest)
	}
	out := make([]float64, len(logits))
	for i, v := range logits {
		out[i] = v - highest - math.Log(sum)
	}
	return out
}
