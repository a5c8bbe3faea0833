package lora

import (
	"io"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

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
