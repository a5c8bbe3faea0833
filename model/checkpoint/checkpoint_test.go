package checkpoint

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// tensorsOf are zero tensors of the shapes a configuration asks for.
func tensorsOf(t testing.TB, c Config) []Tensor {
	var list []Tensor
	for _, w := range c.Weights() {
		size, err := byteSize(c.Type, w.Shape)
		require.NoError(t, err)
		list = append(list, Tensor{Name: w.Name, Type: c.Type, Shape: w.Shape, Data: make([]byte, size)})
	}
	return list
}

func encode(t testing.TB, tensors []Tensor) []byte {
	var file bytes.Buffer
	require.NoError(t, Encode(&file, tensors, map[string]string{"format": "pt"}))
	return file.Bytes()
}

// weights is a file with zero tensors of the shapes a configuration asks for.
func weights(t testing.TB, c Config) []byte { return encode(t, tensorsOf(t, c)) }

// folder is a model folder in memory.
func folder(files map[string][]byte) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: content}
	}
	return fsys
}

// index is the text of model.safetensors.index.json.
func index(t testing.TB, shards map[string]string) []byte {
	text, err := json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": shards})
	require.NoError(t, err)
	return text
}

func TestSingleFile(t *testing.T) {
	tensors := tensorsOf(t, tinyConfig)
	for i := range tensors {
		tensors[i].Data[0] = byte(i + 1)
	}
	c, err := OpenFS(folder(map[string][]byte{
		"config.json": tiny(t, nil), "model.safetensors": encode(t, tensors),
		"model.safetensors.index.json": []byte("not read beside model.safetensors"),
	}), "m")
	require.NoError(t, err)
	require.Equal(t, tinyConfig, c.Config())
	require.NoError(t, c.Check())
	require.Len(t, c.Names(), len(tensors))
	require.True(t, slices.IsSorted(c.Names()))
	for _, want := range tensors {
		got, err := c.Tensor(want.Name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err = c.Tensor("absent")
	require.ErrorContains(t, err, `no tensor "absent"`)
	require.NoError(t, c.Close())
	require.Empty(t, c.Names())
	require.NoError(t, c.Close(), "a second Close")
}

func TestShards(t *testing.T) {
	tensors := tensorsOf(t, tinyConfig)
	half := len(tensors) / 2
	places := map[string]string{}
	for i, x := range tensors {
		places[x.Name] = "model-00001-of-00002.safetensors"
		if i >= half {
			places[x.Name] = "model-00002-of-00002.safetensors"
		}
	}
	files := map[string][]byte{
		"config.json":                      tiny(t, nil),
		"model.safetensors.index.json":     index(t, places),
		"model-00001-of-00002.safetensors": encode(t, tensors[:half]),
		"model-00002-of-00002.safetensors": encode(t, tensors[half:]),
	}
	c, err := OpenFS(folder(files), "m")
	require.NoError(t, err)
	require.NoError(t, c.Check())
	require.NoError(t, c.Close())

	for _, broken := range []struct {
		name, file string
		content    []byte
		want       string
	}{
		{"shard absent", "model-00002-of-00002.safetensors", nil, "does not exist"},
		{"shard malformed", "model-00002-of-00002.safetensors", []byte("x"), "too short"},
		{"tensor in two shards", "model-00002-of-00002.safetensors", encode(t, tensors), "in two files"},
		{"tensor not where the index says", "model-00002-of-00002.safetensors", encode(t, tensors[half+1:]), `is not in "model-00002-of-00002.safetensors"`},
		{"index absent", "model.safetensors.index.json", nil, "neither model.safetensors nor model.safetensors.index.json"},
		{"index empty", "model.safetensors.index.json", []byte(`{}`), `"weight_map": want`},
		{"index without tensors", "model.safetensors.index.json", []byte(`{"weight_map":{}}`), `"weight_map": want`},
		{"index malformed", "model.safetensors.index.json", []byte(`{"weight_map":`), "unexpected EOF"},
		{"index with garbage after", "model.safetensors.index.json", []byte(`{"weight_map":{"a":"a.safetensors"}}x`), "want the end"},
		{"index too long", "model.safetensors.index.json", bytes.Repeat([]byte{' '}, maxJSON+1), "above the limit"},
		{"index nests deep", "model.safetensors.index.json", []byte(`{"metadata":` + strings.Repeat("[", 1<<20)), "exceeded max depth"},
		{"index with a key twice", "model.safetensors.index.json", []byte(`{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}`), "occurs twice"},
		{"index leaves the folder", "model.safetensors.index.json", index(t, map[string]string{"a": "../a.safetensors"}), "of the same folder"},
		{"index names a path", "model.safetensors.index.json", index(t, map[string]string{"a": "/a.safetensors"}), "of the same folder"},
		{"index names a folder's file", "model.safetensors.index.json", index(t, map[string]string{"a": `b\a.safetensors`}), "of the same folder"},
		{"index names another kind of file", "model.safetensors.index.json", index(t, map[string]string{"a": "a.bin"}), "of the same folder"},
		{"index names a number", "model.safetensors.index.json", []byte(`{"weight_map":{"a":1}}`), "want a string"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			fsys := folder(files)
			delete(fsys, broken.file)
			if broken.content != nil {
				fsys[broken.file] = &fstest.MapFile{Data: broken.content}
			}
			_, err := OpenFS(fsys, "m")
			require.ErrorContains(t, err, broken.want)
			require.ErrorContains(t, err, `"m"`)
		})
	}
}

func TestFailedOpenLeavesNothingMapped(t *testing.T) {
	folder := t.TempDir()
	fill(t, folder, map[string][]byte{
		"config.json":                  tiny(t, nil),
		"model.safetensors.index.json": index(t, map[string]string{"a": "1.safetensors", "b": "2.safetensors"}),
		"1.safetensors":                encode(t, []Tensor{{Name: "a", Type: F32, Shape: []int{0}}}),
		"2.safetensors":                []byte("malformed"),
	})
	_, err := Open(folder)
	require.ErrorContains(t, err, "2.safetensors")
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	require.NotContains(t, string(maps), folder)
}

func TestTiedEmbeddings(t *testing.T) {
	for _, c := range []struct {
		name       string
		tied, head bool
		want       string
	}{
		{"tied, no head", true, false, ""},
		{"tied, with a head to ignore", true, true, ""},
		{"untied, with a head", false, true, ""},
		{"untied, no head", false, false, `tensor "lm_head.weight" is missing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := tinyConfig
			config.TieEmbeddings = !c.head
			m, err := OpenFS(folder(map[string][]byte{
				"config.json": tiny(t, map[string]any{"tie_word_embeddings": c.tied}), "model.safetensors": weights(t, config),
			}), "m")
			require.NoError(t, err)
			require.Equal(t, c.tied, m.Config().TieEmbeddings)
			if c.want == "" {
				require.NoError(t, m.Check())
			} else {
				require.ErrorContains(t, m.Check(), c.want)
			}
		})
	}
}

func TestCheckNamesTheTensor(t *testing.T) {
	const name = "model.layers.1.mlp.down_proj.weight"
	at := slices.IndexFunc(tensorsOf(t, tinyConfig), func(x Tensor) bool { return x.Name == name })
	for _, c := range []struct {
		name   string
		change func([]Tensor) []Tensor
		want   string // all of the error; none where it is empty
	}{
		{"missing", func(l []Tensor) []Tensor { return slices.Delete(l, at, at+1) }, `tensor "` + name + `" is missing`},
		{"transposed", func(l []Tensor) []Tensor { l[at].Shape = []int{40, 24}; return l }, `tensor "` + name + `": want shape [24 40], got [40 24]`},
		{"flat", func(l []Tensor) []Tensor { l[at].Shape = []int{960}; return l }, `tensor "` + name + `": want shape [24 40], got [960]`},
		{"integers", func(l []Tensor) []Tensor { l[at].Type = "I32"; return l }, `tensor "` + name + `": want F32, F16 or BF16, got I32`},
		{"another type", func(l []Tensor) []Tensor { l[at].Type, l[at].Data = F16, l[at].Data[:24*40*2]; return l }, ""},
		{"unexpected", func(l []Tensor) []Tensor {
			return append(l, Tensor{Name: "model.layers.0.self_attn.q_proj.bias", Type: F32, Shape: []int{0}})
		}, `tensor "model.layers.0.self_attn.q_proj.bias" is not part of the model`},
		{"saved frequencies", func(l []Tensor) []Tensor {
			return append(l, Tensor{Name: "model.layers.0.self_attn.rotary_emb.inv_freq", Type: F32, Shape: []int{0}})
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := OpenFS(folder(map[string][]byte{
				"config.json": tiny(t, nil), "model.safetensors": encode(t, c.change(tensorsOf(t, tinyConfig))),
			}), "m")
			require.NoError(t, err)
			err = m.Check()
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "checkpoint: weights do not fit config.json: "+c.want)
		})
	}
}

func TestCheckIsBrief(t *testing.T) {
	m, err := OpenFS(folder(map[string][]byte{
		"config.json": tiny(t, nil), "model.safetensors": encode(t, tensorsOf(t, tinyConfig)[:9]),
	}), "m")
	require.NoError(t, err)
	require.ErrorContains(t, m.Check(), `tensor "model.layers.0.mlp.down_proj.weight" is missing`)
	require.ErrorContains(t, m.Check(), "and 2 more")
}
