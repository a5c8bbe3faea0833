package parity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
	"lorikeet/shaders/reference"
)

// fixtures is a folder that generate.py wrote.
type fixtures struct {
	fsys     fs.FS
	table    *table
	manifest manifest
	broken   error // why no fixture of the folder counts

	mu    sync.Mutex
	files map[string]*operatorFile
}

// manifest says how the fixtures were made and what each file has to be.
type manifest struct {
	Version  int               `json:"version"`
	Seed     int64             `json:"seed"`
	Command  string            `json:"command"`
	Device   string            `json:"device"`
	Versions map[string]string `json:"versions"`
	Files    map[string]struct {
		Bytes  int    `json:"bytes"`
		SHA256 string `json:"sha256"`
	} `json:"files"`
}

// operatorFile is what one operator's two files hold.
type operatorFile struct {
	records map[string]json.RawMessage
	outputs *checkpoint.File
	err     error
}

// openFixtures reads the manifest. What is wrong with it is an error of every case.
func openFixtures(fsys fs.FS, t *table) *fixtures {
	f := &fixtures{fsys: fsys, table: t, files: map[string]*operatorFile{}}
	text, err := fs.ReadFile(fsys, "manifest.json")
	if err == nil {
		err = json.Unmarshal(text, &f.manifest)
	}
	if err == nil {
		err = f.checkVersion(f.manifest.Version)
	}
	if err == nil && f.manifest.Seed != t.Seed {
		err = fmt.Errorf("made from seed %d, cases.json has %d", f.manifest.Seed, t.Seed)
	}
	if err != nil {
		f.broken = fmt.Errorf("manifest.json: %w", err)
	}
	return f
}

func (f *fixtures) checkVersion(version int) error {
	if version != f.table.Version {
		return fmt.Errorf("made by version %d of the generator, cases.json has version %d: run generate.py again", version, f.table.Version)
	}
	return nil
}

// read returns a file that the manifest knows, whole and unchanged.
func (f *fixtures) read(name string) ([]byte, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	data, err := fs.ReadFile(f.fsys, name)
	if err != nil {
		return nil, err
	}
	want, ok := f.manifest.Files[name]
	if !ok {
		return nil, fmt.Errorf("%s: manifest.json does not know it", name)
	}
	if len(data) != want.Bytes {
		return nil, fmt.Errorf("%s: has %d bytes, made with %d", name, len(data), want.Bytes)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want.SHA256 {
		return nil, fmt.Errorf("%s: its bytes are not those that were made", name)
	}
	return data, nil
}

// tensors reads a safetensors file of this version.
func (f *fixtures) tensors(name string) (*checkpoint.File, error) {
	data, err := f.read(name)
	if err != nil {
		return nil, err
	}
	file, err := checkpoint.ParseBytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	version, err := strconv.Atoi(file.Metadata["version"])
	if err == nil {
		err = f.checkVersion(version)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return file, nil
}

// operator returns the files of an operator, read once.
func (f *fixtures) operator(name string) *operatorFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.files[name] == nil {
		f.files[name] = f.readOperator(path.Join("operators", name))
	}
	return f.files[name]
}

func (f *fixtures) readOperator(stem string) *operatorFile {
	o := &operatorFile{}
	text, err := f.read(stem + ".json")
	if err != nil {
		o.err = err
		return o
	}
	var list struct {
		Version int                        `json:"version"`
		Cases   map[string]json.RawMessage `json:"cases"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		o.err = fmt.Errorf("%s.json: %w", stem, err)
		return o
	}
	if err := f.checkVersion(list.Version); err != nil {
		o.err = fmt.Errorf("%s.json: %w", stem, err)
		return o
	}
	o.records = list.Cases
	o.outputs, o.err = f.tensors(stem + ".safetensors")
	return o
}

// record is what the generator says of a case: what the table gives, and what it chose by itself.
type record struct {
	Width, Rows, Heads, Tokens, In, Out, Group, History, Vocab int
	HeadDim                                                    int `json:"head_dim"`
	KVHeads                                                    int `json:"kv_heads"`
	Positions, Keys, Ranks                                     []int
	Segments                                                   [][2]int // adapter, or -1, and rows
	Scales                                                     []float64
	Filter                                                     string
	Rope                                                       struct {
		Type     string  `json:"rope_type"`
		Theta    float64 `json:"rope_theta"`
		Factor   float64 `json:"factor"`
		LowFreq  float64 `json:"low_freq_factor"`
		HighFreq float64 `json:"high_freq_factor"`
		Original int     `json:"original_max_position_embeddings"`
	}
	Inputs map[string]uint32 // CRC-32 of each
}

// fixture is one case of an operator.
type fixture struct {
	record
	name    string
	kind    shaders.Type
	seed    int64
	outputs *checkpoint.File
}

// fixture finds the case and checks that it was made from what the table says.
func (f *fixtures) fixture(c *opCase) (*fixture, error) {
	file := f.operator(c.operator)
	if file.err != nil {
		return nil, file.err
	}
	text, ok := file.records[c.name]
	if !ok {
		return nil, fmt.Errorf("operators/%s.json has no such case: run generate.py again", c.operator)
	}
	var made map[string]json.RawMessage
	x := &fixture{name: c.name, kind: c.kind, seed: f.table.Seed, outputs: file.outputs}
	if err := errors.Join(json.Unmarshal(text, &made), json.Unmarshal(text, &x.record)); err != nil {
		return nil, err
	}
	for key, want := range c.given {
		if !bytes.Equal(made[key], want) {
			return nil, fmt.Errorf("made with %s %s, cases.json has %s: run generate.py again", key, made[key], want)
		}
	}
	return x, nil
}

// output decodes an output of the case, compared under the label.
func (x *fixture) output(name, label string) ([]float32, error) {
	tensor, err := x.outputs.Tensor(x.name + "/" + name + " " + label)
	if err != nil {
		return nil, err
	}
	kind, ok := map[checkpoint.DType]shaders.Type{checkpoint.F32: shaders.F32, checkpoint.F16: shaders.F16, checkpoint.BF16: shaders.BF16}[tensor.Type]
	if !ok {
		return nil, fmt.Errorf("%s has type %s", tensor.Name, tensor.Type)
	}
	return kind.Decode(tensor.Data), nil
}

// want is an output as a matrix.
func (x *fixture) want(name, label string, rows, columns int) (reference.Matrix, error) {
	list, err := x.output(name, label)
	if err != nil {
		return reference.Matrix{}, err
	}
	if len(list) != rows*columns {
		return reference.Matrix{}, fmt.Errorf("output %q has %d values, not %d", name, len(list), rows*columns)
	}
	m := reference.NewMatrix(rows, columns)
	for i, v := range list {
		m.Values[i] = float64(v)
	}
	return m, nil
}

// ownError is CUDA's error in the type against CUDA in float32, the worst of the outputs; 0 for float32.
func (x *fixture) ownError() (float64, error) {
	if x.kind == shaders.F32 {
		return 0, nil
	}
	worst := 0.0
	for _, name := range x.outputs.Names() {
		output, mine := strings.CutPrefix(name, x.name+"/")
		output, wide := strings.CutSuffix(output, " "+inFloat32)
		if !mine || !wide {
			continue
		}
		narrow, err := x.output(output, inType)
		if err != nil {
			return 0, err
		}
		want, err := x.want(output, inFloat32, 1, len(narrow))
		if err != nil {
			return 0, err
		}
		worst = max(worst, cases.RelativeError(narrow, want.Values))
	}
	return worst, nil
}

// model checks the files of a model and returns its expected answers.
func (f *fixtures) model(name string) (*checkpoint.File, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	prefix := path.Join("models", name) + "/"
	for file := range f.manifest.Files {
		if strings.HasPrefix(file, prefix) {
			if _, err := f.read(file); err != nil {
				return nil, err
			}
		}
	}
	return f.tensors(prefix + "expected.safetensors")
}

// sub is a folder of the fixtures.
func (f *fixtures) sub(name string) fs.FS {
	folder, err := fs.Sub(f.fsys, name)
	if err != nil {
		panic(err) // the name is not a path
	}
	return folder
}

func folderFixtures(place string, t *table) *fixtures { return openFixtures(os.DirFS(place), t) }
