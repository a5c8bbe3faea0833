package lora

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/x448/float16"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// random is a source of fresh numbers whose seed a failing test prints.
func random(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// testBase has widths that are no multiples of anything.
func testBase(t shaders.Type) Base {
	return Base{
		Layers: 3, Type: t, Vocab: 100,
		In:  [Kinds]int{20, 20, 20, 36, 20, 20, 131, 100, 20},
		Out: [Kinds]int{36, 12, 12, 20, 131, 131, 20, 20, 100},
	}
}

var testLimits = Limits{MaxRank: 16, Targets: allTargets}

// object is a JSON object in the making.
type object map[string]any

// with is a copy of an object with keys changed; a nil value takes a key out.
func (o object) with(changes object) object {
	all := object{}
	for _, part := range []object{o, changes} {
		for key, value := range part {
			all[key] = value
			if value == nil {
				delete(all, key)
			}
		}
	}
	return all
}

func plainConfig(rank int, targets ...string) object {
	return object{"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": targets}
}

// matrix is a random matrix, exact in any type of few enough values.
func matrix(r *rand.Rand, name string, dtype checkpoint.DType, rows, columns int) checkpoint.Tensor {
	t := checkpoint.Tensor{Name: tensorPrefix + name, Type: dtype, Shape: []int{rows, columns}}
	for range rows * columns {
		v := float32(r.NormFloat64())
		switch dtype {
		case checkpoint.F32:
			t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v))
		case checkpoint.F16:
			t.Data = binary.LittleEndian.AppendUint16(t.Data, float16.Fromfloat32(v).Bits())
		case checkpoint.BF16:
			t.Data = binary.LittleEndian.AppendUint16(t.Data, uint16(math.Float32bits(v)>>16))
		}
	}
	return t
}

// matrices are the two of one site.
func matrices(r *rand.Rand, base Base, layer int, site Site, rank int, dtype checkpoint.DType) []checkpoint.Tensor {
	module := site.module(layer)
	a, b := module+".lora_A.weight", module+".lora_B.weight"
	if site == EmbedTokens {
		a, b = module+".lora_embedding_A", module+".lora_embedding_B"
	}
	return []checkpoint.Tensor{matrix(r, a, dtype, rank, base.In[site]), matrix(r, b, dtype, base.Out[site], rank)}
}

// biasOf is the bias beside B of one site.
func biasOf(r *rand.Rand, base Base, layer int, site Site, dtype checkpoint.DType) checkpoint.Tensor {
	t := matrix(r, site.module(layer)+".lora_B.bias", dtype, 1, base.Out[site])
	t.Shape = t.Shape[1:]
	return t
}

// folder is a PEFT folder in memory.
func folder(t testing.TB, config object, tensors []checkpoint.Tensor) fstest.MapFS {
	text, err := json.Marshal(config)
	require.NoError(t, err)
	var weights bytes.Buffer
	require.NoError(t, checkpoint.Encode(&weights, tensors, nil))
	return fstest.MapFS{configFile: {Data: text}, weightsFile: {Data: weights.Bytes()}}
}

func read(f fs.FS, base Base) (*Adapter, error) { return Read("a", "some/path", f, base, testLimits) }

// values decodes a matrix of an adapter: [rows][columns], and the pad apart.
func values(data []byte, t shaders.Type, rows, columns int) (values [][]float32, pad []float32) {
	at := func(i int) float32 {
		switch t {
		case shaders.F32:
			return math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		case shaders.F16:
			return float16.Frombits(binary.LittleEndian.Uint16(data[2*i:])).Float32()
		}
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:])) << 16)
	}
	for r := range rows {
		row := make([]float32, stride(columns))
		for c := range row {
			row[c] = at(r*stride(columns) + c)
		}
		values = append(values, row[:columns])
		pad = append(pad, row[columns:]...)
	}
	return values, pad
}
