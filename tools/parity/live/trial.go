package main

import (
	"fmt"
	"math"
	"os"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
	"lorikeet/shaders/reference"
)

// eps is operators.py's.
const eps = 1e-5

// liveCase is an element of cases.json. Its file holds the inputs in bf16 and the results as "exact NAME" in float32.
type liveCase struct {
	Name     string `json:"name"`
	File     string `json:"file"`
	Operator string `json:"operator"`

	In      int `json:"in"`
	Out     int `json:"out"`
	Tokens  int `json:"tokens"`
	Heads   int `json:"heads"`
	KVHeads int `json:"kv_heads"`
	HeadDim int `json:"head_dim"`
	History int `json:"history"` // tokens before a prompt's chunk

	Keys      []int     `json:"keys"` // of each decoding row
	Positions []int     `json:"positions"`
	Ranks     []int     `json:"ranks"`
	Scales    []float64 `json:"scales"`
	Segments  [][2]int  `json:"segments"` // adapter, or -1, and rows
	Rope      struct {
		Type     string  `json:"rope_type"`
		Theta    float64 `json:"rope_theta"`
		Factor   float64 `json:"factor"`
		LowFreq  float64 `json:"low_freq_factor"`
		HighFreq float64 `json:"high_freq_factor"`
		Original int     `json:"original_max_position_embeddings"`
	} `json:"rope"`

	folder string
}

// trial is a case on the device.
type trial struct {
	*cases.Setup
	*liveCase
	file       *checkpoint.File
	err        error // the first of building
	dispatches []compute.Dispatch
	compare    func() (map[string]float64, error) // errors by output, after the dispatches ran
}

func (t *trial) open() (err error) {
	t.file, err = checkpoint.OpenFile(os.DirFS(t.folder), t.File)
	return err
}

func (t *trial) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// input returns the elements of an input as they lie in the file. Widths are multiples of 8, so its rows need no pad.
func (t *trial) input(name string, rows, columns int) []byte {
	tensor, err := t.file.Tensor(name)
	if err == nil && (tensor.Type != checkpoint.BF16 || len(tensor.Data) != 2*rows*columns) {
		err = fmt.Errorf("%s: %s %v, not %d x %d of BF16", name, tensor.Type, tensor.Shape, rows, columns)
	}
	if err == nil && columns%8 != 0 {
		err = fmt.Errorf("%s: %d columns are no multiple of 8", name, columns)
	}
	if err != nil {
		t.fail(err)
		return make([]byte, 2*rows*columns)
	}
	return tensor.Data
}

// exact is the result that an output should have.
func (t *trial) exact(name string, rows, columns int) (reference.Matrix, error) {
	tensor, err := t.file.Tensor("exact " + name)
	if err == nil && (tensor.Type != checkpoint.F32 || len(tensor.Data) != 4*rows*columns) {
		err = fmt.Errorf("exact %s: %s %v, not %d x %d of F32", name, tensor.Type, tensor.Shape, rows, columns)
	}
	if err != nil {
		return reference.Matrix{}, err
	}
	m := reference.NewMatrix(rows, columns)
	for i, v := range shaders.F32.Decode(tensor.Data) {
		m.Values[i] = float64(v)
	}
	return m, nil
}

// address is where placed data lies; where there is no room, Prepare returns the error.
func address(span compute.Span) uint64 {
	if span.Buffer == nil {
		return 0
	}
	return span.Address()
}

// weights puts an input on the device as it is.
func (t *trial) weights(name string, rows, columns int) shaders.Matrix {
	return shaders.Matrix{Address: address(t.Bytes(t.input(name, rows, columns))), Stride: columns, Type: shaders.BF16}
}

// activations puts an input on the device in fp32.
func (t *trial) activations(name string, rows, columns int) shaders.Rows {
	values := shaders.BF16.Decode(t.input(name, rows, columns))
	return shaders.Rows{Address: address(t.Bytes(shaders.F32.Encode(values))), Stride: columns}
}

// zeros are fp32 rows on the device.
func (t *trial) zeros(rows, columns int) (shaders.Rows, compute.Span) {
	span := t.Bytes(make([]byte, 4*rows*columns))
	return shaders.Rows{Address: address(span), Stride: columns}, span
}

// tiles cuts a batch into tiles; adapted counts those with an adapter.
func (t *trial) tiles(runs ...lora.Run) (at uint64, adapted, all int) {
	tiles, adapted := lora.Tiles(nil, runs)
	return cases.Place(t.Setup, tiles), adapted, len(tiles)
}

// compareRows makes rows on the device the case's only output, "y".
func (t *trial) compareRows(span compute.Span, rows, columns int) {
	t.compare = func() (map[string]float64, error) {
		want, err := t.exact("y", rows, columns)
		if err != nil {
			return nil, err
		}
		relative, err := t.CompareRows(span, columns, want)
		return map[string]float64{"y": finite(relative)}, err
	}
}

// finite makes the error of a result that is not finite one that JSON can hold.
func finite(relative float64) float64 { return min(relative, math.MaxFloat64) }
