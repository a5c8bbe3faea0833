package lora

import (
	"bytes"
	"fmt"

	"lorikeet/model/checkpoint"
)

// copyBlock is how many values of a copy are compared at a time.
const copyBlock = 1 << 16

// copyBytes is the most that copies of the base's own matrices take in the file
// of an adapter for the targets, in the base's type.
func (b Base) copyBytes(targets Targets) int64 {
	var matrices int64
	for s := Sites; s < Kinds; s++ {
		if targets[s] {
			matrices++
		}
	}
	return matrices * int64(b.Vocab) * int64(b.Out[EmbedTokens]) * int64(b.Type.Size())
}

// findCopy finds the copy of the base's own matrix that PEFT by default saves
// beside an adapter of the embedding or the output head, and checks that it is
// one: PEFT runs the adapter on top of what the file has. It returns the
// names of what it found.
func findCopy(file *checkpoint.Header, site Site, base Base) ([]string, error) {
	name := tensorPrefix + site.module(0) + ".base_layer.weight"
	t, ok := file.Entry(name)
	if !ok {
		return nil, nil
	}
	if err := checkTensor(t, "tokens of the base model, features", base.Vocab, base.Out[EmbedTokens]); err != nil {
		return nil, err
	}
	if base.Table == nil {
		return nil, fmt.Errorf("tensor %q: the base model has random weights, of which nothing can be a copy", name)
	}
	own, err := base.Table(site)
	if err != nil {
		return nil, err
	}
	same, err := isCopy(t, own)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	if !same {
		return nil, fmt.Errorf("tensor %q: it differs from the base model's; modules trained whole are not supported", name)
	}
	return []string{name}, nil
}

// isCopy says whether t is own, a tensor of the same shape, rounded to t's type.
// A copy can take a gigabyte, of which only a block is in memory at a time.
func isCopy(t checkpoint.Entry, own checkpoint.Tensor) (bool, error) {
	to := kernelTypes[t.Type]
	block, values := make([]byte, copyBlock*to.Size()), make([]float32, copyBlock)
	for at := int64(0); at < t.Size(); at += int64(len(block)) {
		block = block[:min(int64(len(block)), t.Size()-at)]
		if err := t.ReadPart(block, at); err != nil {
			return false, err
		}
		var want []byte
		if t.Type == own.Type {
			want = own.Data[at:][:len(block)]
		} else {
			values = values[:len(block)/to.Size()]
			if err := widen(values, own, int(at)/to.Size()); err != nil {
				return false, err
			}
			want = to.Encode(values)
		}
		if !bytes.Equal(block, want) {
			return false, nil
		}
	}
	return true, nil
}
