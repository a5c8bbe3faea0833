package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Write writes a safetensors file with the data in the order given.
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("checkpoint: write: %w", err)
	}
	w := bufio.NewWriterSize(file, 1<<20)
	err = errors.Join(Encode(w, tensors, metadata), w.Flush(), file.Close())
	if err != nil {
		return fmt.Errorf("checkpoint: write %q: %w", path, err)
	}
	return nil
}

// Encode writes the bytes of a safetensors file. The header is padded so that
// the data begins at a multiple of eight bytes.
func Encode(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	type entry struct {
		Type    DType  `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header := map[string]any{}
	if len(metadata) > 0 {
		header["__metadata__"] = metadata
	}
	at := 0
	for _, t := range tensors {
		size, err := byteSize(t.Type, t.Shape)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if size != len(t.Data) {
			return fmt.Errorf("tensor %q: shape %v of %s takes %d bytes, got %d", t.Name, t.Shape, t.Type, size, len(t.Data))
		}
		if _, ok := header[t.Name]; ok || t.Name == "__metadata__" {
			return fmt.Errorf("tensor %q: name is taken", t.Name)
		}
		header[t.Name] = entry{t.Type, append([]int{}, t.Shape...), [2]int{at, at + size}}
		at += size
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	text = append(text, bytes.Repeat([]byte{' '}, -len(text)&7)...)
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text)))); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}
