package checkpoint

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// tiny is a small model's config.json with the changes; a change to nil leaves
// the field out.
func tiny(t testing.TB, changes map[string]any) []byte {
	fields := map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "hidden_size": 24, "intermediate_size": 40,
		"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50,
		"max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "torch_dtype": "float32",
		"tie_word_embeddings": false, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
	}
	maps.Copy(fields, changes)
	maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(fields)
	require.NoError(t, err)
	return text
}

var tinyConfig = Config{
	HiddenSize: 24, IntermediateSize: 40, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6, VocabSize: 50,
	NormEps: 1e-5, MaxPositions: 64, Rope: Rope{Theta: 10000, Scaling: RopeDefault, Factor: 1},
	Type: F32, BOS: []int32{1}, EOS: []int32{2},
}

func TestConfig(t *testing.T) {
	llama3 := map[string]any{
		"rope_type": "llama3", "factor": 8, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
		"original_max_position_embeddings": 32,
	}
	for _, c := range []struct {
		name    string
		changes map[string]any
		want    func(*Config)
	}{
		{"as it is", nil, func(c *Config) {}},
		{"nulls", map[string]any{"head_dim": json.RawMessage("null"), "rope_scaling": json.RawMessage("null"), "quantization_config": json.RawMessage("null")}, func(c *Config) {}},
		{"refused features off", map[string]any{"attention_bias": false, "mlp_bias": false, "partial_rotary_factor": 1.0}, func(c *Config) {}},
		{"defaults", map[string]any{
			"architectures": nil, "model_type": "llama", "rms_norm_eps": nil, "rope_theta": nil, "num_key_value_heads": nil,
			"tie_word_embeddings": nil, "hidden_act": nil, "bos_token_id": nil, "eos_token_id": nil,
		}, func(c *Config) { c.NormEps, c.KVHeads, c.BOS, c.EOS = 1e-6, 4, nil, nil }},
		{"head_dim", map[string]any{"head_dim": 8}, func(c *Config) { c.HeadDim = 8 }},
		{"head_dim where heads do not divide", map[string]any{"head_dim": 8, "hidden_size": 25}, func(c *Config) { c.HeadDim, c.HiddenSize = 8, 25 }},
		{"tied", map[string]any{"tie_word_embeddings": true}, func(c *Config) { c.TieEmbeddings = true }},
		{"float16", map[string]any{"torch_dtype": "float16"}, func(c *Config) { c.Type = F16 }},
		{"dtype of transformers 5", map[string]any{"torch_dtype": nil, "dtype": "bfloat16"}, func(c *Config) { c.Type = BF16 }},
		{"lists of tokens", map[string]any{"bos_token_id": []int{3}, "eos_token_id": []int{4, 5}}, func(c *Config) { c.BOS, c.EOS = []int32{3}, []int32{4, 5} }},
		{"mistral", map[string]any{"architectures": []string{"MistralForCausalLM"}, "sliding_window": json.RawMessage("null")}, func(c *Config) {}},
		{"mistral by type, window without effect", map[string]any{"architectures": nil, "model_type": "mistral", "sliding_window": 64}, func(c *Config) {}},
		{"linear", map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2.5}}, func(c *Config) {
			c.Rope.Scaling, c.Rope.Factor, c.MaxPositions = RopeLinear, 2.5, 160
		}},
		{"linear that names its origin", map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2, "original_max_position_embeddings": 32}}, func(c *Config) {
			c.Rope.Scaling, c.Rope.Factor, c.Rope.OriginalPositions = RopeLinear, 2, 32
		}},
		{"llama3", map[string]any{"rope_scaling": llama3}, func(c *Config) {
			c.Rope = Rope{Theta: 10000, Scaling: RopeLlama3, Factor: 8, LowFreq: 1, HighFreq: 4, OriginalPositions: 32}
		}},
		{"rope_parameters", map[string]any{"rope_theta": nil, "rope_parameters": map[string]any{"rope_type": "default", "rope_theta": 5e5}}, func(c *Config) { c.Rope.Theta = 5e5 }},
		{"rope_parameters without a type", map[string]any{"rope_theta": nil, "rope_parameters": map[string]any{"rope_theta": 5e5}}, func(c *Config) { c.Rope.Theta = 5e5 }},
		{"rope_scaling before rope_parameters", map[string]any{"rope_scaling": llama3, "rope_parameters": map[string]any{"rope_theta": 5e5}}, func(c *Config) {
			c.Rope = Rope{Theta: 10000, Scaling: RopeLlama3, Factor: 8, LowFreq: 1, HighFreq: 4, OriginalPositions: 32}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseConfig(tiny(t, c.changes))
			require.NoError(t, err)
			want := tinyConfig
			c.want(&want)
			require.Equal(t, want, got)
		})
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	scaling := func(fields map[string]any) map[string]any { return map[string]any{"rope_scaling": fields} }
	for _, c := range []struct {
		changes map[string]any
		want    string // the whole error
	}{
		{map[string]any{"hidden_size": nil}, "hidden_size: want an integer from 1 to 16777216, got nothing"},
		{map[string]any{"hidden_size": "24"}, `hidden_size: want an integer from 1 to 16777216, got "24"`},
		{map[string]any{"intermediate_size": 0}, "intermediate_size: want an integer from 1 to 16777216, got 0"},
		{map[string]any{"intermediate_size": -1}, "intermediate_size: want an integer from 1 to 16777216, got -1"},
		{map[string]any{"num_hidden_layers": 1.5}, "num_hidden_layers: want an integer from 1 to 4096, got 1.5"},
		{map[string]any{"num_hidden_layers": 5000}, "num_hidden_layers: want an integer from 1 to 4096, got 5000"},
		{map[string]any{"vocab_size": json.RawMessage("1e99")}, "vocab_size: want an integer from 1 to 16777216, got 1e99"},
		{map[string]any{"max_position_embeddings": nil}, "max_position_embeddings: want an integer from 1 to 16777216, got nothing"},
		{map[string]any{"num_key_value_heads": 3}, "num_key_value_heads: want a divisor of num_attention_heads = 4, got 3"},
		{map[string]any{"hidden_size": 25}, "head_dim: want an even integer from 2 to 4194304, as hidden_size / num_attention_heads = 25 / 4 must be where it is left out, got nothing"},
		{map[string]any{"head_dim": 7}, "head_dim: want an even integer from 2 to 4194304, as hidden_size / num_attention_heads = 24 / 4 must be where it is left out, got 7"},
		{map[string]any{"head_dim": 1 << 23}, "head_dim: want an even integer from 2 to 4194304, as hidden_size / num_attention_heads = 24 / 4 must be where it is left out, got 8388608"},
		{map[string]any{"hidden_size": 20}, "head_dim: want an even integer from 2 to 4194304, as hidden_size / num_attention_heads = 20 / 4 must be where it is left out, got nothing"},
		{map[string]any{"head_dim": 0}, "head_dim: want an even integer from 2 to 4194304, as hidden_size / num_attention_heads = 24 / 4 must be where it is left out, got 0"},
		{map[string]any{"head_dim": "8"}, `head_dim: want an even integer from 2 to 4194304, as hidden_size / num_attention_heads = 24 / 4 must be where it is left out, got "8"`},
		{map[string]any{"rms_norm_eps": 0}, "rms_norm_eps: want a number above 0, got 0"},
		{map[string]any{"rms_norm_eps": "1e-5"}, `rms_norm_eps: want a number above 0, got "1e-5"`},
		{map[string]any{"rope_theta": -1}, "rope_theta: want a number above 0, got -1"},
		{map[string]any{"tie_word_embeddings": 1}, "tie_word_embeddings: want true or false, got 1"},
		{map[string]any{"torch_dtype": nil}, `torch_dtype: want one of ["bfloat16" "float16" "float32"], got nothing`},
		{map[string]any{"torch_dtype": "float64"}, `torch_dtype: want one of ["bfloat16" "float16" "float32"], got "float64"`},
		{map[string]any{"dtype": 16}, `dtype: want one of ["bfloat16" "float16" "float32"], got 16`},
		{map[string]any{"hidden_act": "gelu"}, `hidden_act: want one of ["silu"], got "gelu"`},
		{map[string]any{"bos_token_id": 50}, "bos_token_id: want a token id below 50 or a list of such, got 50"},
		{map[string]any{"eos_token_id": []int{2, -1}}, "eos_token_id: want a token id below 50 or a list of such, got [2,-1]"},
		{map[string]any{"eos_token_id": "</s>"}, `eos_token_id: want a token id below 50 or a list of such, got "\u003c/s\u003e"`},
		{map[string]any{"attention_bias": true}, "attention_bias: want false: projections with a bias are not supported, got true"},
		{map[string]any{"mlp_bias": true}, "mlp_bias: want false: projections with a bias are not supported, got true"},
		{map[string]any{"quantization_config": map[string]any{"quant_method": "gptq"}}, `quantization_config: want none: quantized weights are not supported, got {"quant_method":"gptq"}`},
		{map[string]any{"partial_rotary_factor": 0.5}, "partial_rotary_factor: want 1: rotary embedding of a part of the head is not supported, got 0.5"},
		{map[string]any{"architectures": []string{"Qwen2ForCausalLM"}}, `architectures: want ["LlamaForCausalLM"] or ["MistralForCausalLM"], got ["Qwen2ForCausalLM"]`},
		{map[string]any{"architectures": "LlamaForCausalLM"}, `architectures: want ["LlamaForCausalLM"] or ["MistralForCausalLM"], got "LlamaForCausalLM"`},
		{map[string]any{"architectures": nil}, `model_type: want one of ["llama" "mistral"], got nothing`},
		{map[string]any{"architectures": nil, "model_type": "gpt2"}, `model_type: want one of ["llama" "mistral"], got "gpt2"`},
		{map[string]any{"architectures": []string{"MistralForCausalLM"}}, "sliding_window: want null or at least max_position_embeddings: sliding windows are not supported, got nothing"},
		{map[string]any{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 32}, "sliding_window: want null or at least max_position_embeddings: sliding windows are not supported, got 32"},
		{map[string]any{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 64, "num_key_value_heads": nil}, "num_key_value_heads: want an integer from 1 to 16777216, got nothing"},
		{map[string]any{"rope_scaling": "linear"}, `rope_scaling: want an object, got "linear"`},
		{scaling(map[string]any{"rope_type": "dynamic", "factor": 2}), `rope_scaling.rope_type: want one of ["default" "linear" "llama3"], got "dynamic"`},
		{scaling(map[string]any{"type": "yarn", "factor": 2}), `rope_scaling.type: want one of ["default" "linear" "llama3"], got "yarn"`},
		{scaling(map[string]any{"factor": 2}), `rope_scaling.rope_type: want one of ["default" "linear" "llama3"], got nothing`},
		{scaling(map[string]any{"rope_type": "linear"}), "rope_scaling.factor: want a number above 0, got nothing"},
		{scaling(map[string]any{"rope_type": "linear", "factor": 0.5}), "rope_scaling.factor: want a number of at least 1, got 0.5"},
		{scaling(map[string]any{"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4, "original_max_position_embeddings": 32}), "rope_scaling.high_freq_factor: want a number above low_freq_factor, got 4"},
		{scaling(map[string]any{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}), "rope_scaling.original_max_position_embeddings: want an integer from 1 to 16777216, got nothing"},
		{scaling(map[string]any{"rope_type": "default", "partial_rotary_factor": 0.5}), "rope_scaling.partial_rotary_factor: want 1: rotary embedding of a part of the head is not supported, got 0.5"},
		{map[string]any{"rope_parameters": map[string]any{"full_attention": map[string]any{"rope_type": "default"}}}, `rope_parameters.rope_type: want one of ["default" "linear" "llama3"], got nothing`},
		{map[string]any{"hidden_size": nil, "vocab_size": 0}, "hidden_size: want an integer from 1 to 16777216, got nothing\nvocab_size: want an integer from 1 to 16777216, got 0"},
		{map[string]any{"rms_norm_eps": -1, "mlp_bias": true}, "rms_norm_eps: want a number above 0, got -1\nmlp_bias: want false: projections with a bias are not supported, got true"},
	} {
		t.Run(strings.SplitN(c.want, ",", 2)[0], func(t *testing.T) {
			_, err := parseConfig(tiny(t, c.changes))
			require.EqualError(t, err, c.want)
		})
	}
}

func TestConfigThatIsNoObject(t *testing.T) {
	for _, text := range []string{"", "null", "[]", "{", `{"a":NaN}`, strings.Repeat("[", 1<<20)} {
		_, err := parseConfig([]byte(text))
		require.Error(t, err)
	}
}

func TestLongValuesAreCutInErrors(t *testing.T) {
	_, err := parseConfig(tiny(t, map[string]any{"hidden_act": strings.Repeat("x", 1000)}))
	require.ErrorContains(t, err, "xxx...")
	require.Less(t, len(err.Error()), 200)
}

func TestGenerationConfigAddsEndTokens(t *testing.T) {
	read := func(generation string) (Config, error) {
		return readConfig(fstest.MapFS{
			"config.json":            {Data: tiny(t, nil)},
			"generation_config.json": {Data: []byte(generation)},
		}, "m")
	}
	for generation, want := range map[string][]int32{
		`{}`:                     {2},
		`{"eos_token_id":7}`:     {2, 7},
		`{"eos_token_id":[7,2]}`: {2, 7},
		`{"eos_token_id":null}`:  {2},
	} {
		c, err := read(generation)
		require.NoError(t, err)
		require.Equal(t, want, c.EOS)
	}
	c, err := read(`{"temperature":0.6,"top_p":null,"top_k":50,"do_sample":true}`)
	require.NoError(t, err)
	require.Equal(t, map[string]json.RawMessage{"temperature": json.RawMessage("0.6"), "top_k": json.RawMessage("50")}, c.Sampling)
	_, err = read(`{"eos_token_id":50}`)
	require.EqualError(t, err, `checkpoint: generation_config.json of "m": eos_token_id: want a token id below 50 or a list of such, got 50`)
	_, err = read(`[]`)
	require.ErrorContains(t, err, "generation_config.json")
}

func TestConfigFileErrors(t *testing.T) {
	_, err := readConfig(fstest.MapFS{}, "m")
	require.EqualError(t, err, `checkpoint: "m" has no config.json: want a Hugging Face model folder`)
	_, err = readConfig(fstest.MapFS{"config.json": {Data: make([]byte, maxJSON+1)}}, "m")
	require.ErrorContains(t, err, "above the limit")
	_, err = readConfig(fstest.MapFS{"config.json": {Data: []byte(`{"model_type":"t5"}`)}}, "m")
	require.EqualError(t, err, `checkpoint: config.json of "m": model_type: want one of ["llama" "mistral"], got "t5"`)
}

// TestPublishedShape reads the configuration that benchmarks of the 8B shape use.
func TestPublishedShape(t *testing.T) {
	c, err := OpenConfig("../../testdata/shapes/llama-3.1-8b")
	require.NoError(t, err)
	require.Equal(t, Config{
		HiddenSize: 4096, IntermediateSize: 14336, Layers: 32, Heads: 32, KVHeads: 8, HeadDim: 128, VocabSize: 128256,
		NormEps: 1e-5, MaxPositions: 131072, Type: BF16, BOS: []int32{128000}, EOS: []int32{128001, 128008, 128009},
		Rope: Rope{Theta: 500000, Scaling: RopeLlama3, Factor: 8, LowFreq: 1, HighFreq: 4, OriginalPositions: 8192},
	}, c)
	parameters := 0
	for _, w := range c.Weights() {
		n := 1
		for _, dim := range w.Shape {
			n *= dim
		}
		parameters += n
	}
	require.Equal(t, 8_030_261_248, parameters, "the published number of parameters")
}
