package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// maxJSON bounds every JSON text that is read, safetensors headers included.
// The header of a model with a thousand layers takes less than 2 MiB.
const maxJSON = 16 << 20

// File is an open safetensors file: eight bytes with the length of the header,
// the header (JSON: name -> dtype, shape, data_offsets), then the data, which
// the tensors cover exactly, without overlap.
type File struct {
	Metadata map[string]string // the header's "__metadata__"
	tensors  map[string]Tensor
	mapped   []byte // nil where the data is not a mapping
}

// OpenFile opens a safetensors file of a folder. A file of the operating system
// is mapped into memory; it must not be cut short while it is open.
func OpenFile(fsys fs.FS, name string) (*File, error) {
	data, mapped, err := contents(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open %q: %w", name, err)
	}
	f, err := ParseBytes(data)
	if err != nil {
		unmap(mapped)
		return nil, fmt.Errorf("checkpoint: open %q: %w", name, err)
	}
	f.mapped = mapped
	return f, nil
}

// ParseBytes reads a safetensors file that is in memory. The tensors are views
// of data.
func ParseBytes(data []byte) (*File, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("safetensors: %d bytes are too short for the header's length", len(data))
	}
	length, rest := binary.LittleEndian.Uint64(data), data[8:]
	if length > maxJSON {
		return nil, fmt.Errorf("safetensors: header of %d bytes is above the limit of %d", length, maxJSON)
	}
	if length > uint64(len(rest)) {
		return nil, fmt.Errorf("safetensors: header of %d bytes, but %d bytes follow", length, len(rest))
	}
	f := &File{Metadata: map[string]string{}, tensors: map[string]Tensor{}}
	if err := f.parse(rest[:length], rest[length:]); err != nil {
		return nil, fmt.Errorf("safetensors: header: %w", err)
	}
	return f, nil
}

// span is where the data of a tensor lies.
type span struct {
	name       string
	begin, end int
}

func (f *File) parse(header, data []byte) error {
	if !utf8.Valid(header) {
		return errors.New("not valid UTF-8")
	}
	if !bytes.HasPrefix(header, []byte{'{'}) {
		return errors.New("does not begin with '{'")
	}
	var spans []span
	r := newReader(header)
	err := r.object(func(name string) error {
		if name == "__metadata__" {
			return r.object(func(key string) (err error) {
				f.Metadata[key], err = r.string()
				return err
			})
		}
		t, s, err := readEntry(r, name, data)
		f.tensors[name] = t
		spans = append(spans, s)
		return err
	})
	if err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	return checkCover(spans, len(data))
}

// readEntry reads what the header says of one tensor.
func readEntry(r reader, name string, data []byte) (Tensor, span, error) {
	t := Tensor{Name: name}
	var offsets []int
	err := r.object(func(key string) (err error) {
		switch key {
		case "dtype":
			var s string
			s, err = r.string()
			t.Type = DType(s)
		case "shape":
			t.Shape, err = r.integers()
		case "data_offsets":
			offsets, err = r.integers()
		default:
			err = errors.New("key is unknown")
		}
		return err
	})
	if err != nil {
		return t, span{}, err
	}
	if t.Type == "" || t.Shape == nil || offsets == nil {
		return t, span{}, errors.New("want dtype, shape and data_offsets")
	}
	size, err := byteSize(t.Type, t.Shape)
	if err != nil {
		return t, span{}, err
	}
	if len(offsets) != 2 || offsets[0] > offsets[1] || offsets[1] > len(data) {
		return t, span{}, fmt.Errorf("data_offsets %v are no range of the %d bytes of data", offsets, len(data))
	}
	begin, end := offsets[0], offsets[1]
	if end-begin != size {
		return t, span{}, fmt.Errorf("data_offsets %v span %d bytes, but shape %v of %s takes %d", offsets, end-begin, t.Shape, t.Type, size)
	}
	t.Data = data[begin:end:end]
	return t, span{name, begin, end}, nil
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

// Names lists the tensors in alphabetical order.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.tensors)) }

// Tensor finds a tensor by name.
func (f *File) Tensor(name string) (Tensor, error) {
	t, ok := f.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("checkpoint: no tensor %q", name)
	}
	return t, nil
}

// Close unmaps the file. The data of its tensors must not be used any more.
func (f *File) Close() error {
	err := unmap(f.mapped)
	f.mapped, f.tensors = nil, nil
	return err
}

// contents maps a file of the operating system and reads any other.
func contents(fsys fs.FS, name string) (data, mapped []byte, err error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	osFile, ok := file.(*os.File)
	if !ok {
		data, err = io.ReadAll(file)
		return data, nil, err
	}
	info, err := osFile.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("not a regular file")
	}
	if info.Size() == 0 {
		return nil, nil, nil
	}
	mapped, err = unix.Mmap(int(osFile.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %d bytes: %w", info.Size(), err)
	}
	return mapped, mapped, nil
}

func unmap(mapped []byte) error {
	if mapped == nil {
		return nil
	}
	return unix.Munmap(mapped)
}
