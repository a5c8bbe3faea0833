package model

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"lorikeet/compute"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// weights are the base model on the device.
type weights struct {
	arena     *compute.Arena
	embedding shaders.Matrix
	head      shaders.Matrix // the embedding itself where the two are tied
	finalNorm shaders.Norm
	layers    []layerWeights
	rope      compute.Span // fp32 [position][HeadDim]: cosines, then sines
}

type layerWeights struct {
	attentionNorm, mlpNorm shaders.Norm
	qkv, o, gateUp, down   shaders.Matrix
}

// tensorPart names a tensor of the checkpoint and the rows it fills in a matrix.
type tensorPart struct {
	name    string
	row     int // first row in the matrix
	rows    int
	columns int
}

// plannedTensor is a device matrix and the checkpoint tensors it is made of.
type plannedTensor struct {
	span  compute.Span
	width int // columns, unpadded
	parts []tensorPart
	norm  bool // a vector of norm weights
	// panels says that the matrix is in panels (shaders.PutPanels), not row by
	// row.
	panels bool
}

// weightPlan lays the weights out on the device before anything is read, so
// that memory runs out early and tensors upload side by side.
type weightPlan struct {
	shape   *Shape
	arena   *compute.Arena
	panels  bool // what projections multiply is in panels
	unit    int  // columns that a part of a row's sum of squares is of
	tensors []plannedTensor
	err     error
}

// projection plans a matrix [rows][columns] that projections multiply.
func (p *weightPlan) projection(rows, columns int, parts ...tensorPart) shaders.Matrix {
	if !p.panels {
		return p.matrix(rows, columns, parts...)
	}
	span := p.alloc(shaders.PanelsBytes(rows, columns))
	p.tensors = append(p.tensors, plannedTensor{span: span, width: columns, parts: parts, panels: true})
	return shaders.Matrix{Address: span.Address(), Type: p.shape.Type, Panels: true}
}

// matrix plans a matrix [rows][columns] made of parts stacked below each other.
func (p *weightPlan) matrix(rows, columns int, parts ...tensorPart) shaders.Matrix {
	stride := pad(columns)
	span := p.alloc(int64(rows) * int64(stride) * int64(p.shape.Type.Size()))
	p.tensors = append(p.tensors, plannedTensor{span: span, width: columns, parts: parts})
	return shaders.Matrix{Address: span.Address(), Stride: stride, Type: p.shape.Type}
}

// norm plans the weights of an RMSNorm over the residual stream. Where the sums
// of squares are, each program knows.
func (p *weightPlan) norm(name string) shaders.Norm {
	span := p.alloc(int64(pad(p.shape.Hidden)) * int64(p.shape.Type.Size()))
	p.tensors = append(p.tensors, plannedTensor{
		span: span, width: p.shape.Hidden, norm: true,
		parts: []tensorPart{{name: name, rows: 1, columns: p.shape.Hidden}},
	})
	return shaders.Norm{
		Weight: span.Address(), Parts: squareParts(p.shape.Hidden, p.unit),
		Width: p.shape.Hidden, Eps: p.shape.Eps,
	}
}

func (p *weightPlan) alloc(n int64) compute.Span {
	if p.err != nil {
		return compute.Span{}
	}
	span, err := p.arena.Alloc(n)
	p.err = err
	return span
}

// planWeights lays out a whole model.
func planWeights(d *compute.Device, k *shaders.Kernels, s *Shape, tied bool) (*weights, *weightPlan, error) {
	w := &weights{arena: d.NewArena("weights", compute.Local, min(weightChunk, s.parameterBytes(tied)))}
	p := &weightPlan{shape: s, arena: w.arena, panels: k.Panels(s.Type), unit: k.SquaresUnit(s.Type)}
	h, q, kv := s.Hidden, s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	w.embedding = p.matrix(s.Vocab, h, tensorPart{"model.embed_tokens.weight", 0, s.Vocab, h})
	w.head = w.embedding
	switch {
	case !tied:
		w.head = p.projection(s.Vocab, h, tensorPart{"lm_head.weight", 0, s.Vocab, h})
	case p.panels: // rows to look up and panels to multiply are two copies
		w.head = p.projection(s.Vocab, h, tensorPart{"model.embed_tokens.weight", 0, s.Vocab, h})
	}
	w.finalNorm = p.norm("model.norm.weight")
	for l := range s.Layers {
		name := func(tensor string) string { return fmt.Sprintf("model.layers.%d.%s.weight", l, tensor) }
		w.layers = append(w.layers, layerWeights{
			attentionNorm: p.norm(name("input_layernorm")),
			mlpNorm:       p.norm(name("post_attention_layernorm")),
			qkv: p.projection(q+2*kv, h,
				tensorPart{name("self_attn.q_proj"), 0, q, h},
				tensorPart{name("self_attn.k_proj"), q, kv, h},
				tensorPart{name("self_attn.v_proj"), q + kv, kv, h}),
			o: p.projection(h, q, tensorPart{name("self_attn.o_proj"), 0, h, q}),
			gateUp: p.projection(2*s.upRow(), h,
				tensorPart{name("mlp.gate_proj"), 0, s.Inner, h},
				tensorPart{name("mlp.up_proj"), s.upRow(), s.Inner, h}),
			down: p.projection(h, s.Inner, tensorPart{name("mlp.down_proj"), 0, h, s.Inner}),
		})
	}
	w.rope = p.alloc(int64(s.Context) * int64(s.HeadDim) * 4)
	if p.err != nil {
		w.arena.Close()
		return nil, nil, fmt.Errorf("model: %d bytes of weights: %w", p.bytes(), p.err)
	}
	return w, p, nil
}

// bytes is what the planned tensors take.
func (p *weightPlan) bytes() int64 {
	var n int64
	for i := range p.tensors {
		n += p.tensors[i].span.Size
	}
	return n
}

// load reads every planned tensor from a checkpoint, several at once.
// progress is told the bytes of each tensor that arrived.
func (p *weightPlan) load(ctx context.Context, d *compute.Device, c *checkpoint.Checkpoint, progress func(bytes int64)) error {
	idle := make(chan *compute.Uploader, uploaders)
	defer func() {
		close(idle)
		for u := range idle {
			u.Close()
		}
	}()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(uploaders)
	for i := range p.tensors {
		t := &p.tensors[i]
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			var u *compute.Uploader // nil where the host sees the memory
			if t.span.Bytes() == nil {
				var err error
				if u, err = uploader(d, idle); err != nil {
					return err
				}
				defer func() { idle <- u }()
			}
			if err := p.loadTensor(d, u, c, t); err != nil {
				return err
			}
			progress(t.span.Size)
			return nil
		})
	}
	return group.Wait()
}

// loadTensor reads a planned tensor.
func (p *weightPlan) loadTensor(d *compute.Device, u *compute.Uploader, c *checkpoint.Checkpoint, t *plannedTensor) error {
	if t.panels {
		return p.loadPanels(u, c, t)
	}
	if err := p.clearGaps(d, t); err != nil {
		return err
	}
	for _, part := range t.parts {
		if err := p.loadPart(u, c, t, part); err != nil {
			return err
		}
	}
	return nil
}

// uploader is one that is idle, or a new one.
func uploader(d *compute.Device, idle <-chan *compute.Uploader) (*compute.Uploader, error) {
	select {
	case u := <-idle:
		return u, nil
	default:
	}
	u, err := d.NewUploader()
	if err != nil {
		return nil, fmt.Errorf("model: upload weights: %w", err)
	}
	return u, nil
}

// clearGaps zeroes a tensor that its parts do not fill.
func (p *weightPlan) clearGaps(d *compute.Device, t *plannedTensor) error {
	filled := int64(0)
	for _, part := range t.parts {
		filled += int64(part.rows) * int64(part.columns) * int64(p.shape.Type.Size())
	}
	if filled == t.span.Size {
		return nil
	}
	return d.Fill(t.span, 0)
}

func (p *weightPlan) loadPart(u *compute.Uploader, c *checkpoint.Checkpoint, t *plannedTensor, part tensorPart) error {
	tensor, err := c.Tensor(part.name)
	if err != nil {
		return err
	}
	data, err := p.values(tensor, part)
	if err != nil {
		return err
	}
	size := int64(p.shape.Type.Size())
	stride, width := int64(pad(t.width))*size, int64(part.columns)*size
	data = padRows(data, width, stride)
	to := t.span.Slice(int64(part.row)*stride, int64(len(data)))
	if u == nil {
		copy(to.Bytes(), data)
		return nil
	}
	ticket, err := u.Upload(compute.Piece{To: to, From: data})
	if err == nil {
		err = u.Wait(ticket)
	}
	if err != nil {
		return fmt.Errorf("model: upload %q: %w", part.name, err)
	}
	return nil
}

// values are a part's values in the model's type, row by row.
func (p *weightPlan) values(t checkpoint.Tensor, part tensorPart) ([]byte, error) {
	data, err := p.convert(t)
	if err != nil {
		return nil, err
	}
	if want := part.rows * part.columns * p.shape.Type.Size(); len(data) != want {
		return nil, fmt.Errorf("model: tensor %q has %d bytes, expected %d for [%d, %d]", part.name, len(data), want, part.rows, part.columns)
	}
	return data, nil
}

// convert returns the tensor's values in the model's type. Checkpoints of mixed
// types exist (norms in fp32 beside bf16 projections).
func (p *weightPlan) convert(t checkpoint.Tensor) ([]byte, error) {
	from, err := typeOf(t.Type)
	if err != nil {
		return nil, fmt.Errorf("model: tensor %q: %w", t.Name, err)
	}
	if from == p.shape.Type {
		return t.Data, nil
	}
	return p.shape.Type.Encode(from.Decode(t.Data)), nil
}

// padRows spaces rows of width bytes a stride apart, with zeros between.
func padRows(data []byte, width, stride int64) []byte {
	if width == stride {
		return data
	}
	rows := int64(len(data)) / width
	padded := make([]byte, rows*stride)
	for r := range rows {
		copy(padded[r*stride:], data[r*width:(r+1)*width])
	}
	return padded
}

// squareParts is the number of partial sums of squares of one row, each of a
// block of columns.
func squareParts(width, block int) int { return (width + block - 1) / block }

const (
	weightChunk = 1 << 30
	panelSlab   = 8 << 20 // bytes that are put into panels at a time
	uploaders   = 8       // one core cannot fill the bus to device memory
)
