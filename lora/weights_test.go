package lora

import (
	"encoding/binary"
	"io"
	"io/fs"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// changedFS opens the weights of a folder as another file.
type changedFS struct {
	fs.FS
	change func(fs.File) fs.File
}

func (f changedFS) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil || name != weightsFile {
		return file, err
	}
	return f.change(file), nil
}

// cutFile is a file that has been cut short since its size was asked for.
type cutFile struct {
	fs.File
	left int64
}

func (f cutFile) ReadAt(p []byte, offset int64) (int, error) {
	return io.NewSectionReader(f.File.(io.ReaderAt), 0, f.left).ReadAt(p, offset)
}

func TestReadWeightsCutShort(t *testing.T) {
	base := testBase(shaders.BF16)
	tensors := matrices(random(t), base, 1, Q, 4, checkpoint.BF16)
	good := folder(t, plainConfig(4, "q_proj"), tensors)
	size := int64(len(good[weightsFile].Data))
	sizeB := int64(len(tensors[1].Data))
	for _, c := range []struct {
		left int64
		want string
	}{
		{0, "safetensors: header's length: "},
		{7, "safetensors: header's length: "},
		{8, "safetensors: header: "},
		{50, "safetensors: header: "},
		{size - sizeB - 1, `tensor "` + tensors[0].Name + `": `},
		{size - sizeB, `tensor "` + tensors[1].Name + `": `},
		{size - 1, `tensor "` + tensors[1].Name + `": `},
	} {
		_, err := read(changedFS{good, func(f fs.File) fs.File { return cutFile{f, c.left} }}, base)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorContains(t, err, `lora: read "some/path": adapter_model.safetensors: `+c.want)
	}
	_, err := read(changedFS{good, func(f fs.File) fs.File { return cutFile{f, size} }}, base)
	require.NoError(t, err)
}

func TestReadWeightsNeedsOffsets(t *testing.T) {
	base := testBase(shaders.BF16)
	good := folder(t, plainConfig(4, "q_proj"), matrices(random(t), base, 1, Q, 4, checkpoint.BF16))
	_, err := read(changedFS{good, func(f fs.File) fs.File { return struct{ fs.File }{f} }}, base)
	require.ErrorContains(t, err, "adapter_model.safetensors: want a file that can be read at any offset, got a struct")
}

// busyFile counts the reads behind its header that are under way, and remembers the most.
type busyFile struct {
	fs.File
	header    int64
	now, most *atomic.Int64
}

func (f busyFile) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= f.header {
		for now := f.now.Add(1); ; {
			most := f.most.Load()
			if now <= most || f.most.CompareAndSwap(most, now) {
				break
			}
		}
		time.Sleep(time.Millisecond)
		defer f.now.Add(-1)
	}
	return f.File.(io.ReaderAt).ReadAt(p, offset)
}

// TestReadsShareTheCores reads several adapters at once: together they keep the cores busy that are theirs, and no more.
func TestReadsShareTheCores(t *testing.T) {
	base := testBase(shaders.BF16)
	var tensors []checkpoint.Tensor
	for layer := range base.Layers {
		for site := range Sites {
			tensors = append(tensors, matrices(random(t), base, layer, site, 4, checkpoint.BF16)...)
		}
	}
	good := folder(t, plainConfig(4).with(object{"target_modules": "all-linear"}), tensors)
	header := int64(8 + binary.LittleEndian.Uint64(good[weightsFile].Data))
	var now, most atomic.Int64
	busy := changedFS{good, func(f fs.File) fs.File { return busyFile{f, header, &now, &most} }}
	var reads errgroup.Group
	for range 4 + 4*cap(converting)/len(tensors) { // more sites than places
		reads.Go(func() error {
			_, err := read(busy, base)
			return err
		})
	}
	require.NoError(t, reads.Wait())
	require.EqualValues(t, cap(converting), most.Load())
	for cores, want := range map[int]int{1: 1, 2: 1, 3: 2, 4: 3, 16: 12} {
		require.Equal(t, want, places(cores), "%d cores", cores)
	}
}
