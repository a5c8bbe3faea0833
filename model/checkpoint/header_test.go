package checkpoint

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// countingReader counts the bytes that are read of a file.
type countingReader struct {
	io.ReaderAt
	read int
}

func (r *countingReader) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, offset)
	r.read += n
	return n, err
}

func TestReadHeader(t *testing.T) {
	tensors, metadata := randomTensors(t), map[string]string{"format": "pt"}
	var file bytes.Buffer
	require.NoError(t, Encode(&file, tensors, metadata))
	size, data := file.Len(), 0
	for _, x := range tensors {
		data += len(x.Data)
	}
	r := &countingReader{ReaderAt: bytes.NewReader(file.Bytes())}
	h, err := ReadHeader(r, int64(size))
	require.NoError(t, err)
	require.Equal(t, size-data, r.read, "the data is not read")
	require.Equal(t, metadata, h.Metadata)
	require.Len(t, h.Names(), len(tensors))
	_, ok := h.Entry("absent")
	require.False(t, ok)
	var buffer []byte
	for _, want := range tensors {
		e, ok := h.Entry(want.Name)
		require.True(t, ok)
		require.Equal(t, int64(len(want.Data)), e.Size())
		for i := range buffer {
			buffer[i] = 0xa5
		}
		got, err := e.Read(buffer)
		require.NoError(t, err)
		require.Equal(t, want.Name, got.Name)
		require.Equal(t, want.Type, got.Type)
		require.Equal(t, want.Shape, got.Shape)
		require.True(t, bytes.Equal(want.Data, got.Data))
		buffer = got.Data

		half := len(want.Data) / 2
		part := make([]byte, len(want.Data)-half)
		require.NoError(t, e.ReadPart(part, int64(half)))
		require.True(t, bytes.Equal(want.Data[half:], part))
		require.ErrorIs(t, e.ReadPart(make([]byte, len(part)+1), int64(half)), io.ErrUnexpectedEOF, "the next tensor is none of its data")
	}
}

func TestReadReusesTheBuffer(t *testing.T) {
	h, err := ReadHeader(bytes.NewReader(raw(`{`+entryA+`}`, 8)), int64(len(raw(`{`+entryA+`}`, 8))))
	require.NoError(t, err)
	e, _ := h.Entry("a")
	buffer := make([]byte, 3, 8)
	x, err := e.Read(buffer)
	require.NoError(t, err)
	require.Same(t, &buffer[0], &x.Data[0])
	x, err = e.Read(make([]byte, 7))
	require.NoError(t, err)
	require.Len(t, x.Data, 8)
}

// TestCutShort cuts a file at every place after its size was asked for.
func TestCutShort(t *testing.T) {
	file := raw(`{`+entryA+`}`, 8)
	for n := range len(file) {
		h, err := ReadHeader(bytes.NewReader(file[:n]), int64(len(file)))
		if n < len(file)-8 {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			continue
		}
		require.NoError(t, err)
		e, _ := h.Entry("a")
		_, err = e.Read(nil)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}
