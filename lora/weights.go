package lora

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

const (
	weightsFile = "adapter_model.safetensors"
	maxHeader   = 16 << 20 // bytes of a safetensors header
)

// readWeights checks the header of the file, then reads and converts every
// tensor.
func readWeights(folder fs.FS, base Base, limits Limits, settings []setting) ([]Weights, error) {
	// Four bytes a value are the most the file can need.
	most := (base.Bytes(limits)+base.copyBytes(limits.Targets))*4/int64(base.Type.Size()) + maxHeader
	file, size, err := openFile(folder, weightsFile, most)
	if errors.Is(err, fs.ErrNotExist) {
		if _, e := fs.Stat(folder, "adapter_model.bin"); e == nil {
			return nil, fmt.Errorf("the weights are in adapter_model.bin, which can run code when read: save them as %s", weightsFile)
		}
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sites, err := convertFile(file, size, base, settings)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", weightsFile, err)
	}
	return sites, nil
}

func convertFile(file fs.File, size int64, base Base, settings []setting) ([]Weights, error) {
	// The file is read, not mapped: one that is cut short while it is mapped
	// would take the server down.
	readerAt, ok := file.(io.ReaderAt)
	if !ok {
		return nil, fmt.Errorf("want a file that can be read at any offset, got a %T", file)
	}
	header, err := checkpoint.ReadHeader(readerAt, size)
	if err != nil {
		return nil, err
	}
	pairs, err := collect(header, base, settings)
	if err != nil {
		return nil, err
	}
	return convert(pairs, base, settings)
}

// converting has a place for each core that reads and converts adapters, all of
// them together. A quarter of the cores, or of two one, is left to those who
// launch steps and deliver tokens: where every core converts, a goroutine that
// comes back from the device waits until one of them is done.
var converting = make(chan struct{}, places(runtime.GOMAXPROCS(0)))

// places is how many of so many cores convert.
func places(cores int) int { return max(1, cores*3/4) }

// convert reads and converts the matrices of all sites. All of it is done by many
// cores: the copy out of the page cache, and the zeros that new memory is filled
// with, take longer than the conversion.
func convert(pairs []pair, base Base, settings []setting) ([]Weights, error) {
	sites := make([]Weights, len(pairs))
	var work errgroup.Group
	var begun atomic.Int64
	for range cap(converting) {
		work.Go(func() error {
			c := converter{to: base.Type}
			for {
				i := int(begun.Add(1)) - 1
				if i >= len(pairs) {
					return nil
				}
				if !pairs[i].present {
					continue
				}
				converting <- struct{}{}
				var err error
				sites[i], err = c.weights(&pairs[i], settings[i])
				<-converting
				if err != nil {
					return err
				}
			}
		})
	}
	return sites, work.Wait()
}

// converter reads tensors and converts them to a type. It reads one after the
// other into the same buffer, which stays in a core's cache.
type converter struct {
	to     shaders.Type
	buffer []byte
}

func (c *converter) weights(p *pair, s setting) (Weights, error) {
	size := func(rows, columns int) int { return rows * stride(columns) * c.to.Size() }
	w := Weights{
		Rank: s.rank, Scale: s.scale, Bias: p.bias != nil,
		A: make([]byte, size(s.rank, p.in)),
		B: make([]byte, size(p.rowsOfB(), p.out)),
	}
	if err := c.tensor(w.A, p.a, pack); err != nil {
		return w, err
	}
	if err := c.tensor(w.B, p.b, packTransposed); err != nil {
		return w, err
	}
	if p.bias == nil {
		return w, nil
	}
	row := *p.bias
	row.Shape = []int{1, p.out}
	return w, c.tensor(w.B[size(s.rank, p.out):], row, pack)
}

func (c *converter) tensor(to []byte, from checkpoint.Entry, pack func([]byte, shaders.Type, checkpoint.Tensor) error) error {
	t, err := from.Read(c.buffer)
	if err == nil {
		c.buffer = t.Data
		err = pack(to, c.to, t)
	}
	if err != nil {
		return fmt.Errorf("tensor %q: %w", from.Name, err)
	}
	return nil
}
