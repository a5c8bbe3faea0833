package lora

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

var dtypes = []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16}

// TestReadConverts compares every weight with the value in the file, for all
// pairs of types.
func TestReadConverts(t *testing.T) {
	r := random(t)
	for _, dtype := range dtypes {
		for _, to := range []shaders.Type{shaders.F32, shaders.F16, shaders.BF16} {
			t.Run(fmt.Sprintf("%s to %s", dtype, to), func(t *testing.T) {
				base := testBase(to)
				const rank = 5
				var tensors []checkpoint.Tensor
				var biases int64
				for i := range base.SitesPerSlot() {
					layer, site := base.site(i)
					tensors = append(tensors, matrices(r, base, layer, site, rank, dtype)...)
					biases += int64(stride(base.Out[site]) * to.Size())
				}
				a, err := read(folder(t, plainConfig(rank, siteNames[:]...), tensors), base)
				require.NoError(t, err)
				require.Equal(t, rank, a.Rank)
				require.Equal(t, to, a.Type)
				require.Equal(t, rank, a.Products)
				require.Equal(t, allTargets, a.Targets)
				require.Equal(t, base.Bytes(Limits{rank, allTargets}), a.Bytes()+biases, "as if each B had a bias")
				for i, w := range a.Sites {
					_, site := base.site(i)
					require.Equal(t, float32(2), w.Scale)
					requireMatrix(t, tensors[2*i], false, w.A, to, rank, base.In[site])
					requireMatrix(t, tensors[2*i+1], true, w.B, to, rank, base.Out[site])
				}
			})
		}
	}
}

// requireMatrix checks that a matrix has the tensor's values to half a step of
// its type, and zeros beside them.
func requireMatrix(t *testing.T, from checkpoint.Tensor, transposed bool, data []byte, to shaders.Type, rows, columns int) {
	t.Helper()
	got, pad := values(data, to, rows, columns)
	require.Len(t, data, rows*stride(columns)*to.Size())
	for _, v := range pad {
		require.Zero(t, v)
	}
	step := map[shaders.Type]float64{shaders.F32: 0, shaders.F16: 0x1p-11, shaders.BF16: 0x1p-8}[to]
	source := make([]float32, rows*columns)
	require.NoError(t, widen(source, from, 0))
	for r := range rows {
		for c := range columns {
			want := float64(source[r*columns+c])
			if transposed {
				want = float64(source[c*rows+r])
			}
			require.InDelta(t, want, float64(got[r][c]), math.Abs(want)*step+0x1p-25*min(1, step*1e9), "row %d, column %d", r, c)
		}
	}
}

// TestReadBias: the bias is the last row of B, where there is one.
func TestReadBias(t *testing.T) {
	r := random(t)
	const rank = 3
	for _, to := range []shaders.Type{shaders.F32, shaders.F16, shaders.BF16} {
		base := testBase(to)
		tensors := slices.Concat(
			matrices(r, base, 1, O, rank, checkpoint.F32), []checkpoint.Tensor{biasOf(r, base, 1, O, checkpoint.F32)},
			matrices(r, base, 0, LMHead, rank, checkpoint.F32), []checkpoint.Tensor{biasOf(r, base, 0, LMHead, checkpoint.F32)},
			matrices(r, base, 2, O, rank, checkpoint.F32))
		a, err := read(folder(t, plainConfig(rank, "o_proj", "lm_head").with(object{"lora_bias": true}), tensors), base)
		require.NoError(t, err)
		require.Equal(t, rank, a.Rank)
		require.Equal(t, rank+1, a.Products)
		for i, at := range []int{base.Index(1, O), base.Index(0, LMHead)} {
			_, site := base.site(at)
			w, bias := a.Sites[at], tensors[3*i+2]
			require.True(t, w.Bias)
			row := rank * stride(base.Out[site]) * to.Size()
			requireMatrix(t, tensors[3*i], false, w.A, to, rank, base.In[site])
			requireMatrix(t, tensors[3*i+1], true, w.B[:row], to, rank, base.Out[site])
			bias.Shape = []int{1, base.Out[site]}
			requireMatrix(t, bias, false, w.B[row:], to, 1, base.Out[site])
		}
		without := a.Sites[base.Index(2, O)]
		require.False(t, without.Bias)
		requireMatrix(t, tensors[7], true, without.B, to, rank, base.Out[O])
	}
}

func TestReadMissingSites(t *testing.T) {
	r := random(t)
	base := testBase(shaders.F32)
	// k_proj is targeted without weights; only layer 1 has any.
	tensors := append(matrices(r, base, 1, V, 4, checkpoint.F32), matrices(r, base, 1, Down, 4, checkpoint.F32)...)
	a, err := read(folder(t, plainConfig(4, "k_proj", "v_proj", "down_proj"), tensors), base)
	require.NoError(t, err)
	for i, w := range a.Sites {
		here := i == base.Index(1, V) || i == base.Index(1, Down)
		require.Equal(t, here, w.Rank == 4, "site %d", i)
		require.Equal(t, here, w.A != nil && w.B != nil, "site %d", i)
	}
}

func TestReadIDs(t *testing.T) {
	base := testBase(shaders.F32)
	f := folder(t, plainConfig(4, "q_proj"), matrices(random(t), base, 0, Q, 4, checkpoint.F32))
	a, err := read(f, base)
	require.NoError(t, err)
	b, err := read(f, base)
	require.NoError(t, err)
	require.NotZero(t, a.ID)
	require.NotEqual(t, a.ID, b.ID)
}

// TestReadRefuses changes one thing of a good adapter at a time.
func TestReadRefuses(t *testing.T) {
	r := random(t)
	base := testBase(shaders.F16)
	good := func() []checkpoint.Tensor { return matrices(r, base, 1, Q, 4, checkpoint.F32) }
	shaped := func(i int, shape ...int) []checkpoint.Tensor {
		tensors := good()
		size := 4
		for _, n := range shape {
			size *= n
		}
		tensors[i].Shape, tensors[i].Data = shape, make([]byte, size)
		return tensors
	}
	also := func(name string) []checkpoint.Tensor {
		return append(good(), checkpoint.Tensor{Name: name, Type: checkpoint.F32, Shape: []int{1}, Data: make([]byte, 4)})
	}
	with := func(i int, bits uint32) []checkpoint.Tensor { // the last value is changed
		tensors := good()
		binary.LittleEndian.PutUint32(tensors[i].Data[len(tensors[i].Data)-4:], bits)
		return tensors
	}
	outer := func(s Site) []checkpoint.Tensor { return append(good(), matrices(r, base, 0, s, 4, checkpoint.F32)...) }
	resized := func(tensors []checkpoint.Tensor) []checkpoint.Tensor {
		tensors[3] = matrix(r, "lm_head.lora_B.weight", checkpoint.F32, base.Vocab+1, 4)
		return tensors
	}
	turned := func(tensors []checkpoint.Tensor) []checkpoint.Tensor {
		slices.Reverse(tensors[2].Shape)
		return tensors
	}
	nameA := tensorPrefix + Q.module(1) + ".lora_A.weight"
	for _, c := range []struct {
		name    string
		config  object
		tensors []checkpoint.Tensor
		want    string
	}{
		{"other model", nil, shaped(0, 4, 24), `tensor "` + nameA + `": shape [4 24], want [4 20] (rank, inputs)`},
		{"other rank", nil, shaped(1, 36, 3), "shape [36 3], want [36 4] (outputs, rank)"},
		{"flat", nil, shaped(0, 80), "shape [80], want [4 20]"},
		{"deep", nil, shaped(0, 1, 4, 20), "shape [1 4 20], want [4 20]"},
		{"integers", nil, func() []checkpoint.Tensor {
			tensors := good()
			tensors[0].Type = "I32"
			return tensors
		}(), `tensor "` + nameA + `": dtype I32, want F32, F16 or BF16`},
		{"only A", nil, good()[:1], `lora_B.weight" is missing beside "` + nameA},
		{"only B", nil, good()[1:], `"` + nameA + `" is missing beside`},
		{"nothing", nil, nil, "no tensors"},
		{"not targeted", object{"target_modules": []string{"v_proj"}}, good(), nameA + `": adapter_config.json does not target the module`},
		{"no layer", nil, also(tensorPrefix + "model.layers.3.self_attn.q_proj.lora_A.weight"), "layers.3.self_attn.q_proj.lora_A.weight\": the base model has no such module"},
		{"fused", nil, also(tensorPrefix + "model.layers.0.self_attn.qkv_proj.lora_A.weight"), "no such module"},
		{"no prefix", nil, also("model.layers.1.self_attn.v_proj.lora_A.weight"), "names must begin with base_model.model."},
		{"DoRA weights", nil, also(tensorPrefix + Q.module(1) + ".lora_magnitude_vector"), "DoRA is not supported"},
		{"bias", nil, also(tensorPrefix + Q.module(1) + ".bias"), "the base model's modules have no bias"},
		{"bias of B", nil, also(tensorPrefix + Q.module(1) + ".lora_B.bias"), "it needs lora_bias in adapter_config.json"},
		{"bias of B alone", object{"lora_bias": true}, also(tensorPrefix + V.module(1) + ".lora_B.bias"), "and lora_A and lora_B beside it"},
		{"bias of another size", object{"lora_bias": true}, also(tensorPrefix + Q.module(1) + ".lora_B.bias"), "shape [1], want [36] (outputs)"},
		{"embeddings", nil, outer(EmbedTokens), `lora_embedding_A": adapter_config.json does not target the module`},
		{"head", nil, outer(LMHead), `lm_head.lora_A.weight": adapter_config.json does not target the module`},
		{"half of the embeddings", object{"target_modules": []string{"q_proj", "embed_tokens"}}, outer(EmbedTokens)[:3], `lora_embedding_B" is missing beside`},
		{"embeddings turned", object{"target_modules": []string{"q_proj", "embed_tokens"}}, turned(outer(EmbedTokens)), "shape [100 4], want [4 100] (rank, tokens of the base model)"},
		{"more tokens", object{"target_modules": []string{"q_proj", "lm_head"}}, resized(outer(LMHead)), "shape [101 4], want [100 4] (tokens of the base model, rank)"},
		{"whole embeddings", nil, also(tensorPrefix + "model.embed_tokens.weight"), "embeddings trained or resized whole are not supported"},
		{"whole head", nil, also(tensorPrefix + "lm_head.weight"), "an output head trained or resized whole is not supported"},
		{"whole module", nil, also(tensorPrefix + "model.norm.weight"), "modules saved whole are not supported"},
		{"infinite", nil, with(0, 0x7f800000), `tensor "` + nameA + `": row 3: value +Inf`},
		{"no number", nil, with(1, 0x7fc00000), `lora_B.weight": column 3: value NaN`},
		{"too large", nil, with(0, 0x7f000000), "is too large for the model's type, f16"},
		{"rank limit", object{"r": 17}, good(), "LoRA adapter a with rank 17 is incompatible with the current LoRA memory pool configuration"},
		{"rank limit by pattern", object{"rank_pattern": object{"q_proj": 99}}, good(), "adapter a with rank 99 is incompatible"},
		{"DoRA", object{"use_dora": true}, good(), "Failed to load a because LoRA serving currently doesn't support DoRA adapters"},
		{"no targets", object{"target_modules": []string{"c_attn"}}, good(), "no module of the base model is targeted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(folder(t, plainConfig(4, "q_proj").with(c.config), c.tensors), base)
			require.ErrorContains(t, err, c.want)
			require.ErrorIs(t, err, ErrRefused)
		})
	}
	_, err := read(folder(t, plainConfig(4, "q_proj"), good()), base)
	require.NoError(t, err)
}

func TestReadFiles(t *testing.T) {
	base := testBase(shaders.BF16)
	good := func() fstest.MapFS {
		return folder(t, plainConfig(4, "q_proj"), matrices(random(t), base, 0, Q, 4, checkpoint.BF16))
	}
	for _, c := range []struct {
		name   string
		change func(fstest.MapFS)
		want   string
	}{
		{"no config", func(f fstest.MapFS) { delete(f, configFile) }, "adapter_config.json"},
		{"no weights", func(f fstest.MapFS) { delete(f, weightsFile) }, "adapter_model.safetensors"},
		{"pickle", func(f fstest.MapFS) { f["adapter_model.bin"] = f[weightsFile]; delete(f, weightsFile) }, "can run code when read"},
		{"bad JSON", func(f fstest.MapFS) { f[configFile].Data = []byte("{") }, "adapter_config.json: unexpected end"},
		{"cut short", func(f fstest.MapFS) { f[weightsFile].Data = f[weightsFile].Data[:99] }, "adapter_model.safetensors: safetensors"},
		{"too large", func(f fstest.MapFS) { f[weightsFile].Data = make([]byte, 17<<20) }, "17825792 bytes, more than the 16946912"},
		{"folder", func(f fstest.MapFS) { f[configFile].Mode = os.ModeDir | 0o755 }, "not a regular file"},
		{"new tokens", func(f fstest.MapFS) {
			f["added_tokens.json"] = &fstest.MapFile{Data: []byte(`{"<pad>": 99, "<new>": 100}`)}
		}, "Failed to load a because LoRA serving currently doesn't support adapters that add tokens to the vocabulary"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := good()
			c.change(f)
			_, err := read(f, base)
			require.ErrorContains(t, err, c.want)
			require.ErrorIs(t, err, ErrRefused)
		})
	}
	f := good()
	f["added_tokens.json"] = &fstest.MapFile{Data: []byte(`{"<pad>": 99}`)}
	_, err := read(f, base)
	require.NoError(t, err)
}

func TestReadPath(t *testing.T) {
	base := testBase(shaders.F32)
	place := t.TempDir()
	for name, file := range folder(t, plainConfig(4, "q_proj"), matrices(random(t), base, 0, Q, 4, checkpoint.F32)) {
		require.NoError(t, os.WriteFile(filepath.Join(place, name), file.Data, 0o600))
	}
	a, err := Read("a", place, nil, base, testLimits)
	require.NoError(t, err)
	require.Equal(t, place, a.Path)
	limits, err := LimitsOf(place, nil, base)
	require.NoError(t, err)
	require.Equal(t, Limits{4, Targets{Q: true}}, limits)

	_, err = Read("a", filepath.Join(place, "none"), nil, base, testLimits)
	require.ErrorContains(t, err, "none")
	require.ErrorIs(t, err, ErrRefused)
	_, err = Read("a", place, nil, base, Limits{MaxRank: 4, Targets: Targets{O: true}})
	require.ErrorContains(t, err, "is incompatible")
	require.ErrorContains(t, err, "not included: q_proj")
}

func TestParseTargets(t *testing.T) {
	targets, err := ParseTargets([]string{"k_proj", "down_proj"})
	require.NoError(t, err)
	require.Equal(t, Targets{Q: true, K: true, V: true, Down: true}, targets)
	for name, want := range map[string]Targets{
		"all":          {true, true, true, true, true, true, true, true, true},
		"all-linear":   {true, true, true, true, true, true, true},
		"embed_tokens": {EmbedTokens: true},
		"lm_head":      {LMHead: true},
	} {
		targets, err = ParseTargets([]string{name})
		require.NoError(t, err)
		require.Equal(t, want, targets, name)
	}
	_, err = ParseTargets([]string{"q_proj", "output"})
	require.ErrorContains(t, err, `"output"`)
}
