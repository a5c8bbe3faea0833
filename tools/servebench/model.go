package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"lorikeet/model/checkpoint"
)

// drawn is how many values of a matrix are drawn; larger ones repeat them. It is odd, so that no two rows of a matrix
// are the same.
const drawn = 1<<22 - 1

// makeModel writes a checkpoint with random weights in the shape of the model in another folder, so that a start can be
// timed with weights that come from a file. All layers have the same weights, which are held in memory once.
func makeModel(shapeFolder, out string, seed uint64) error {
	config, err := checkpoint.OpenConfig(shapeFolder)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(shapeFolder, "config.json"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "config.json"), text, 0o644); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 0))
	values := map[string][]byte{} // by shape
	var tensors []checkpoint.Tensor
	for _, w := range config.Weights() {
		shape := fmt.Sprint(w.Shape)
		if values[shape] == nil {
			values[shape] = weightValues(config.Type, w.Shape, r)
		}
		tensors = append(tensors, checkpoint.Tensor{Name: w.Name, Type: config.Type, Shape: w.Shape, Data: values[shape]})
	}
	return checkpoint.Write(filepath.Join(out, "model.safetensors"), tensors, nil)
}

// weightValues are ones for a norm, which then leaves alone what it normalizes, and uniform numbers with variance 1/in
// for a matrix [out][in].
func weightValues(t checkpoint.DType, shape []int, r *rand.Rand) []byte {
	if len(shape) == 1 {
		var ones []byte
		for range shape[0] {
			ones = appendValue(ones, t, 1)
		}
		return ones
	}
	out, in := shape[0], shape[1]
	n := min(drawn, out*in)
	first := appendUniform(nil, t, n, in, r)
	data := make([]byte, len(first)/n*out*in)
	for at := 0; at < len(data); {
		at += copy(data[at:], first)
	}
	return data
}
