package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// File is a safetensors file whose data lies in memory.
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
	h, err := ReadHeader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	f := &File{Metadata: h.Metadata, tensors: map[string]Tensor{}}
	for name, e := range h.entries {
		_, begin, size := e.data.Outer()
		end := begin + size
		f.tensors[name] = Tensor{e.Name, e.Type, e.Shape, data[begin:end:end]}
	}
	return f, nil
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
