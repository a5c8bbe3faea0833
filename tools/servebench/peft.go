package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/x448/float16"
	"golang.org/x/sync/errgroup"

	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/model/checkpoint"
)

// makers is how many adapters are written at a time, each of which is held in memory.
const makers = 8

// makeAdapters writes n PEFT folders with random weights, adapter-0 and on, that fit the model in a folder.
func makeAdapters(modelFolder, out string, n, rank int, seed uint64) error {
	config, err := checkpoint.OpenConfig(modelFolder)
	if err != nil {
		return err
	}
	shape, err := model.ShapeOf(config, 0)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(makers)
	for i := range n {
		group.Go(func() error {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			return makeAdapter(filepath.Join(out, fmt.Sprintf("adapter-%d", i)), shape.Sites(), config.Type, rank, r)
		})
	}
	return group.Wait()
}

// makeAdapter writes one PEFT folder. Both matrices of a site have the variance that keeps the size of what they
// multiply, so that the adapter changes the model's answers as much as its weights do.
func makeAdapter(folder string, sites lora.Base, t checkpoint.DType, rank int, r *rand.Rand) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var tensors []checkpoint.Tensor
	var targets []string
	for site := range lora.Sites {
		targets = append(targets, site.String())
		for layer := range sites.Layers {
			module := "base_model.model.model." + moduleName(layer, site)
			tensors = append(tensors,
				randomTensor(module+".lora_A.weight", t, rank, sites.In[site], r),
				randomTensor(module+".lora_B.weight", t, sites.Out[site], rank, r))
		}
	}
	config, err := json.Marshal(map[string]any{"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": targets})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "adapter_config.json"), config, 0o644); err != nil {
		return err
	}
	return checkpoint.Write(filepath.Join(folder, "adapter_model.safetensors"), tensors, nil)
}

// moduleName is what a checkpoint calls a projection, below the model's own name.
func moduleName(layer int, site lora.Site) string {
	block := "self_attn"
	if site >= lora.Gate {
		block = "mlp"
	}
	return fmt.Sprintf("layers.%d.%s.%s", layer, block, site)
}

// randomTensor is a matrix of uniform numbers with variance 1/in.
func randomTensor(name string, t checkpoint.DType, out, in int, r *rand.Rand) checkpoint.Tensor {
	return checkpoint.Tensor{Name: name, Type: t, Shape: []int{out, in}, Data: appendUniform(nil, t, out*in, in, r)}
}

// appendUniform appends n uniform numbers with variance 1/in.
func appendUniform(data []byte, t checkpoint.DType, n, in int, r *rand.Rand) []byte {
	bound := float32(math.Sqrt(3 / float64(in)))
	for range n {
		data = appendValue(data, t, (2*r.Float32()-1)*bound)
	}
	return data
}

// appendValue appends a number in a type, truncated to it.
func appendValue(data []byte, t checkpoint.DType, v float32) []byte {
	switch t {
	case checkpoint.F16:
		return binary.LittleEndian.AppendUint16(data, float16.Fromfloat32(v).Bits())
	case checkpoint.BF16:
		return binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(v)>>16))
	}
	return binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
}
