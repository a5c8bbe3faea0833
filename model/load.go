package model

import (
	"context"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sync/errgroup"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// MaxTop is the largest Logprobs.Top.
const MaxTop = shaders.MaxTop

// Limits are the sizes a model was opened with.
type Limits struct {
	Rows    int // rows of one step: decoding sequences and prompt chunks together
	Lanes   int // running sequences
	Logits  int // rows of one step that may want logits; more than Lanes
	Adjusts int // adjustments of logits in one step; at least as many as the vocabulary has tokens
	Pages   int // pages of the page pool, which keys, values and adapters share
	Context int // positions of one sequence
}

// Llama is a Llama-family model on one device, ready to run steps.
type Llama struct {
	device   *compute.Device
	kernels  *shaders.Kernels
	shape    Shape
	limits   Limits
	weights  *weights
	adapters Adapters

	activations  activations
	pool         *pool
	pageTable    []uint32 // [lane][pagesPerLane]
	pageBuffer   *compute.Buffer
	pagesPerLane int
	lastTokens   *compute.Buffer // uint32 [lane]

	blocks   [2]*block
	buckets  [parts][]int
	programs map[programKey]*program
	// epilogues are the parameters of the programs' fused projections.
	epilogues *compute.Arena
	profiler  *compute.Profiler

	steps [2]Step
	turn  int

	// Scratch of fill.
	runs, logitRuns []lora.Run
	decodes         []shaders.DecodeRow
}

// Adapters is where the device finds resident adapters. The zero value is a
// model that serves none.
type Adapters struct {
	Table        uint64 // shaders.AdapterSite [slot][SitesPerSlot]
	SitesPerSlot int
	MaxRank      int          // products of one site that there is room for: lora.Limits.Products
	Targets      lora.Targets // sites that adapters may change; those of layers they always may
	// Slots adapters of at most Bytes each lie in the page pool. A pool that is
	// bounded by tokens has room for them beside.
	Slots int
	Bytes int64
}

func (a *Adapters) enabled() bool { return a.Table != 0 }

// Options say how to open a model.
type Options struct {
	Rows    int // rows of one step (chunked prefill size)
	Lanes   int // running sequences
	Context int // positions of one sequence; 0: the checkpoint's

	MaxTokens      int     // tokens that the page pool can hold at once; 0: as many as memory allows
	MemoryFraction float64 // share of the free device memory that weights and the page pool may take

	Kernels  string // variant of the kernels (see compute.Info.Variants); "" or "auto": what suits the device
	Adapters Adapters
	Profiler *compute.Profiler // nil: programs carry no timestamps
	// Progress is told how many bytes of weights have arrived, of how many, from
	// any goroutine; nil is allowed.
	Progress func(arrived, total int64)
}

// Open puts a checkpoint on the device and records its programs. A nil
// checkpoint gives random weights in the shape of c.
func Open(ctx context.Context, d *compute.Device, c checkpoint.Config, weights *checkpoint.Checkpoint, o Options) (*Llama, error) {
	kernels := shaders.New(d)
	if o.Kernels != "" && o.Kernels != "auto" {
		styles := shaders.Styles(d.Info(), o.Kernels)
		if len(styles) == 0 {
			return nil, fmt.Errorf("model: the device has no kernels of the variant %q", o.Kernels)
		}
		kernels = shaders.NewStyle(d, styles[0])
	}
	return open(ctx, d, kernels, c, weights, o)
}

// open is Open with given kernels.
func open(ctx context.Context, d *compute.Device, kernels *shaders.Kernels, c checkpoint.Config, weights *checkpoint.Checkpoint, o Options) (*Llama, error) {
	shape, err := ShapeOf(c, o.Context)
	if err != nil {
		return nil, err
	}
	m := &Llama{device: d, kernels: kernels, shape: shape, adapters: o.Adapters, profiler: o.Profiler}
	m.adapters.MaxRank = shaders.HiddenColumns(m.adapters.MaxRank)
	m.limits = Limits{Rows: max(o.Rows, o.Lanes), Lanes: o.Lanes, Logits: o.Lanes + scoredRows, Adjusts: max(shape.Vocab, leastAdjusts), Context: shape.Context}
	free := d.Info().LocalFree
	var plan *weightPlan
	steps := []func() error{
		func() error { return m.allocateActivations() },
		func() error { return m.checkMemory(c.TieEmbeddings, o, free) },
		func() (err error) { plan, err = m.planWeights(c, weights); return err },
		func() error { return m.allocatePool(o, free) },
		func() error { return m.allocateBlocks() },
		func() error { return m.readAndRecord(ctx, plan, weights, o.Progress) },
		func() error { return m.warm(ctx) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			m.Close()
			return nil, err
		}
	}
	return m, nil
}

// scoredRows are the logit rows of a step beyond one per lane: prompt log
// probabilities get on however many sequences decode beside them.
const scoredRows = 64

// leastAdjusts is how many adjustments a step has room for where the vocabulary
// is small.
const leastAdjusts = 1 << 16

// Limits are the sizes the model was opened with.
func (m *Llama) Limits() Limits { return m.limits }

// Shape is what the device runs of the model.
func (m *Llama) Shape() Shape { return m.shape }

// planWeights finds a place for all weights, which are not read yet, and checks
// their source, nil for random ones.
func (m *Llama) planWeights(c checkpoint.Config, source *checkpoint.Checkpoint) (*weightPlan, error) {
	w, plan, err := planWeights(m.device, m.kernels, &m.shape, c.TieEmbeddings)
	if err != nil {
		return nil, err
	}
	m.weights = w
	table := ropeTable(checkpoint.RopeFrequencies(c), m.shape.Context)
	if err := m.device.Upload(w.rope, bytesOf(table)); err != nil {
		return nil, fmt.Errorf("model: upload the rotary table: %w", err)
	}
	if source == nil {
		return plan, nil
	}
	return plan, source.Check()
}

// readAndRecord reads the weights while kernels compile and programs are
// recorded: these need to know where weights are, not what.
func (m *Llama) readAndRecord(ctx context.Context, plan *weightPlan, source *checkpoint.Checkpoint, progress func(arrived, total int64)) error {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return m.record(ctx) })
	both.Go(func() error {
		if source == nil {
			return plan.fillRandom(ctx, m.device, m.kernels)
		}
		return plan.load(ctx, m.device, source, counter(plan.bytes(), progress))
	})
	return both.Wait()
}

// counter adds up the bytes that arrived and passes the sum on.
func counter(total int64, progress func(arrived, total int64)) func(int64) {
	var sum atomic.Int64
	return func(n int64) {
		if arrived := sum.Add(n); progress != nil {
			progress(arrived, total)
		}
	}
}

// checkMemory fails before anything large is touched where the weights leave no
// room for a single page.
func (m *Llama) checkMemory(tied bool, o Options, free int64) error {
	weights := m.shape.parameterBytes(tied)
	if m.left(weights, o, free) < m.shape.PageBytes() {
		return m.noMemory(weights, free)
	}
	return nil
}

// left is what the allowed share of memory leaves to the page pool.
func (m *Llama) left(weights int64, o Options, free int64) int64 {
	return int64(o.MemoryFraction*float64(free)) - weights - m.activations.arena.Reserved()
}

func (m *Llama) noMemory(weights, free int64) error {
	return fmt.Errorf("model: no memory for the page pool: %.1f GiB are free, weights take %.1f GiB; raise --mem-fraction-static or choose a smaller model: %w",
		gib(free), gib(weights), compute.ErrOutOfMemory)
}

// allocatePool gives the page pool what the other uses of memory leave of the
// allowed share. A CPU device's memory is everybody's: there the pool is no
// larger than what all lanes can fill.
func (m *Llama) allocatePool(o Options, free int64) error {
	page := m.shape.PageBytes()
	pages := int(m.left(m.weights.arena.Reserved(), o, free) / page)
	m.pagesPerLane = PagesFor(m.shape.Context)
	forAdapters := m.adapters.Slots * int((m.adapters.Bytes+page-1)/page)
	if m.device.Info().Type == compute.CPU {
		pages = min(pages, m.limits.Lanes*m.pagesPerLane+forAdapters)
	}
	if o.MaxTokens > 0 {
		pages = min(pages, PagesFor(o.MaxTokens)+forAdapters)
	}
	if pages < 1 {
		return m.noMemory(m.weights.arena.Reserved(), free)
	}
	var err error
	if m.pool, err = newPool(m.device, pages, page); err != nil {
		return err
	}
	m.limits.Pages = pages
	if m.pageBuffer, err = m.device.Allocate(int64(m.limits.Lanes*m.pagesPerLane*4), compute.HostWrite); err != nil {
		return fmt.Errorf("model: page table: %w", err)
	}
	m.pageTable = carve[uint32](&carver{memory: m.pageBuffer.Bytes()}, m.limits.Lanes*m.pagesPerLane)
	return nil
}

func (m *Llama) allocateBlocks() error {
	for i := range m.blocks {
		b, err := newBlock(m.device, m.limits)
		if err != nil {
			return fmt.Errorf("model: step block: %w", err)
		}
		m.blocks[i] = b
	}
	return nil
}

// Close frees everything the model has on the device.
func (m *Llama) Close() {
	for _, p := range m.programs {
		p.Release()
	}
	for _, b := range m.blocks {
		if b != nil {
			b.release()
		}
	}
	if m.epilogues != nil {
		m.epilogues.Close()
	}
	if m.pageBuffer != nil {
		m.pageBuffer.Release()
	}
	if m.pool != nil {
		m.pool.release()
	}
	if m.weights != nil {
		m.weights.arena.Close()
	}
	m.activations.release()
	if m.lastTokens != nil {
		m.lastTokens.Release()
	}
}

func bytesOf[T any](list []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(list))), int(unsafe.Sizeof(t))*len(list))
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }
