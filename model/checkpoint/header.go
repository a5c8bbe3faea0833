package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// maxJSON bounds every JSON text that is read, safetensors headers included.
// The header of a model with a thousand layers takes less than 2 MiB.
const maxJSON = 16 << 20

// Header is the beginning of a safetensors file: eight bytes with the length of
// a JSON text, then that text (name -> dtype, shape, data_offsets). The rest of
// the file is the data, which the tensors cover exactly, without overlap.
type Header struct {
	Metadata map[string]string // the header's "__metadata__"
	entries  map[string]Entry
}

// Entry is what the header says of a tensor, whose data stays in the file until
// it is read. Any number of goroutines may read it at once.
type Entry struct {
	Name  string
	Type  DType
	Shape []int // empty for a scalar
	data  *io.SectionReader
}

// ReadHeader reads the header of a safetensors file of so many bytes. It checks
// all that can be checked without the data, of which it reads nothing. The file
// must stay open while entries are read.
func ReadHeader(file io.ReaderAt, size int64) (*Header, error) {
	if size < 8 {
		return nil, fmt.Errorf("safetensors: %d bytes are too short for the header's length", size)
	}
	var first [8]byte
	if err := readFull(file, first[:], 0); err != nil {
		return nil, fmt.Errorf("safetensors: header's length: %w", err)
	}
	length, rest := binary.LittleEndian.Uint64(first[:]), size-8
	if string(first[:]) == "version " {
		return nil, errors.New("safetensors: the file is a pointer of Git LFS, not what it points to: see git lfs pull")
	}
	if length > maxJSON {
		return nil, fmt.Errorf("safetensors: header of %d bytes is above the limit of %d", length, maxJSON)
	}
	if length > uint64(rest) {
		return nil, fmt.Errorf("safetensors: header of %d bytes, but %d bytes follow", length, rest)
	}
	text := make([]byte, length)
	if err := readFull(file, text, 8); err != nil {
		return nil, fmt.Errorf("safetensors: header: %w", err)
	}
	h := &Header{Metadata: map[string]string{}, entries: map[string]Entry{}}
	data := io.NewSectionReader(file, 8+int64(length), rest-int64(length))
	if err := h.parse(text, data); err != nil {
		return nil, fmt.Errorf("safetensors: header: %w", err)
	}
	return h, nil
}

// Names lists the tensors in alphabetical order.
func (h *Header) Names() []string { return slices.Sorted(maps.Keys(h.entries)) }

// Entry finds a tensor by name.
func (h *Header) Entry(name string) (e Entry, ok bool) {
	e, ok = h.entries[name]
	return e, ok
}

// Size is how many bytes of data the tensor has, as many as its type and shape
// say.
func (e Entry) Size() int64 { return e.data.Size() }

// Read reads the tensor. Its data lies in the buffer, if that has the capacity,
// or else in new memory. A file that has become shorter than it was when the
// header was read gives [io.ErrUnexpectedEOF].
func (e Entry) Read(buffer []byte) (Tensor, error) {
	size := int(e.Size())
	if size > cap(buffer) {
		buffer = make([]byte, size)
	}
	t := Tensor{e.Name, e.Type, e.Shape, buffer[:size]}
	return t, e.ReadPart(t.Data, 0)
}

// ReadPart fills the buffer with the tensor's data from an offset on, in bytes.
// Its errors are those of Read; they also tell of a part beyond the data.
func (e Entry) ReadPart(buffer []byte, offset int64) error { return readFull(e.data, buffer, offset) }

// readFull fills the buffer with what lies at an offset of the file.
func readFull(file io.ReaderAt, buffer []byte, offset int64) error {
	n, err := file.ReadAt(buffer, offset)
	switch {
	case n == len(buffer): // at the end of the file, io.EOF may come along
		return nil
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// span is where a tensor lies in the data.
type span struct {
	name       string
	begin, end int
}

func (h *Header) parse(text []byte, data *io.SectionReader) error {
	if !utf8.Valid(text) {
		return errors.New("not valid UTF-8")
	}
	if !bytes.HasPrefix(text, []byte{'{'}) {
		return errors.New("does not begin with '{'")
	}
	var spans []span
	r := newReader(text)
	err := r.object(func(name string) error {
		if name == "__metadata__" {
			return r.object(func(key string) (err error) {
				h.Metadata[key], err = r.string()
				return err
			})
		}
		e, s, err := readEntry(r, name, data)
		h.entries[name] = e
		spans = append(spans, s)
		return err
	})
	if err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	return checkCover(spans, int(data.Size()))
}

// readEntry reads what the header says of one tensor.
func readEntry(r reader, name string, data *io.SectionReader) (Entry, span, error) {
	e := Entry{Name: name}
	var offsets []int
	err := r.object(func(key string) (err error) {
		switch key {
		case "dtype":
			var s string
			s, err = r.string()
			e.Type = DType(s)
		case "shape":
			e.Shape, err = r.integers()
		case "data_offsets":
			offsets, err = r.integers()
		default:
			err = errors.New("key is unknown")
		}
		return err
	})
	if err != nil {
		return e, span{}, err
	}
	if e.Type == "" || e.Shape == nil || offsets == nil {
		return e, span{}, errors.New("want dtype, shape and data_offsets")
	}
	size, err := byteSize(e.Type, e.Shape)
	if err != nil {
		return e, span{}, err
	}
	if len(offsets) != 2 || offsets[0] > offsets[1] || int64(offsets[1]) > data.Size() {
		return e, span{}, fmt.Errorf("data_offsets %v are no range of the %d bytes of data", offsets, data.Size())
	}
	begin, end := offsets[0], offsets[1]
	if end-begin != size {
		return e, span{}, fmt.Errorf("data_offsets %v span %d bytes, but shape %v of %s takes %d", offsets, end-begin, e.Shape, e.Type, size)
	}
	file, first, _ := data.Outer()
	e.data = io.NewSectionReader(file, first+int64(begin), int64(size))
	return e, span{name, begin, end}, nil
}

// checkCover checks that the tensors cover the data without overlap or hole.
func checkCover(spans []span, size int) error {
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at, previous := 0, "the header"
	for _, s := range spans {
		if s.begin < at {
			return fmt.Errorf("%q overlaps %q", s.name, previous)
		}
		if s.begin > at {
			return fmt.Errorf("hole of %d bytes between %s and %q", s.begin-at, previous, s.name)
		}
		at, previous = s.end, s.name
	}
	if at != size {
		return fmt.Errorf("%d bytes after the last tensor", size-at)
	}
	return nil
}
