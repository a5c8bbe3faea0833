package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// Config is what config.json and generation_config.json say of a Llama model.
// A number that they leave out has the default of transformers' LlamaConfig, but
// the sizes of tensors must be there.
type Config struct {
	HiddenSize       int     // hidden_size
	IntermediateSize int     // intermediate_size
	Layers           int     // num_hidden_layers
	Heads            int     // num_attention_heads
	KVHeads          int     // num_key_value_heads; divides Heads
	HeadDim          int     // head_dim, else HiddenSize / Heads; even
	VocabSize        int     // vocab_size
	NormEps          float64 // rms_norm_eps
	MaxPositions     int     // max_position_embeddings; a linear Rope without OriginalPositions stretches it
	Rope             Rope
	TieEmbeddings    bool                       // the embedding table is the output projection as well
	Type             DType                      // F32, F16 or BF16; single tensors may differ
	BOS              []int32                    // bos_token_id; nil where left out
	EOS              []int32                    // eos_token_id of both files; nil where left out
	Sampling         map[string]json.RawMessage // what generation_config.json says of sampling, as it stands there
}

const (
	maxSize   = 1 << 24 // of one dimension, so that products of two stay far from overflow
	maxLayers = 1 << 12
)

// OpenConfig reads the configuration of a model folder or hub name. The folder
// needs no weights.
func OpenConfig(path string) (Config, error) {
	folder, err := ResolveFolder(path)
	if err != nil {
		return Config{}, err
	}
	return readConfig(os.DirFS(folder), path)
}

func readConfig(fsys fs.FS, name string) (Config, error) {
	text, err := readText(fsys, "config.json")
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("checkpoint: %q has no config.json: want a Hugging Face model folder", name)
	}
	if err != nil {
		return Config{}, fmt.Errorf("checkpoint: config.json of %q: %w", name, err)
	}
	c, err := parseConfig(text)
	if err != nil {
		return Config{}, fmt.Errorf("checkpoint: config.json of %q: %w", name, err)
	}
	text, err = readText(fsys, "generation_config.json")
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = c.addGeneration(text)
	}
	if err != nil {
		return Config{}, fmt.Errorf("checkpoint: generation_config.json of %q: %w", name, err)
	}
	return c, nil
}

func parseConfig(text []byte) (Config, error) {
	f, err := parseFields(text)
	if err != nil {
		return Config{}, err
	}
	mistral := checkArchitecture(f)
	if err := f.err(); err != nil {
		return Config{}, err // the other fields would be another model's
	}
	c := readSizes(f)
	if err := f.err(); err != nil {
		return Config{}, err // the checks below would follow from it
	}
	c.readHeads(f, mistral)
	c.readType(f)
	c.NormEps = f.positiveOr("rms_norm_eps", 1e-6)
	c.TieEmbeddings = f.bool("tie_word_embeddings")
	c.BOS = f.tokens("bos_token_id", c.VocabSize)
	c.EOS = f.tokens("eos_token_id", c.VocabSize)
	c.Rope = readRope(f)
	if c.Rope.Scaling == RopeLinear && c.Rope.OriginalPositions == 0 {
		c.MaxPositions = int(min(float64(c.MaxPositions)*c.Rope.Factor, maxSize))
	}
	refuse(f, mistral, c.MaxPositions)
	if err := f.err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func readSizes(f fields) Config {
	return Config{
		HiddenSize:       f.size("hidden_size", maxSize),
		IntermediateSize: f.size("intermediate_size", maxSize),
		Layers:           f.size("num_hidden_layers", maxLayers),
		Heads:            f.size("num_attention_heads", maxSize),
		VocabSize:        f.size("vocab_size", maxSize),
		MaxPositions:     f.size("max_position_embeddings", maxSize),
	}
}

// checkArchitecture notes any architecture but Llama and Mistral, and says
// whether it is Mistral: Llama with a sliding window.
func checkArchitecture(f fields) (mistral bool) {
	if !f.has("architectures") {
		return f.oneOf("model_type", "", "llama", "mistral") == "mistral"
	}
	var names []string
	err := json.Unmarshal(f.raw["architectures"], &names)
	mistral = len(names) == 1 && names[0] == "MistralForCausalLM"
	if err != nil || !mistral && !slices.Equal(names, []string{"LlamaForCausalLM"}) {
		f.want("architectures", `["LlamaForCausalLM"] or ["MistralForCausalLM"]`)
	}
	return mistral
}

func (c *Config) readHeads(f fields, mistral bool) {
	if mistral {
		c.KVHeads = f.size("num_key_value_heads", maxSize)
	} else {
		c.KVHeads = f.sizeOr("num_key_value_heads", maxSize, c.Heads)
	}
	if c.Heads%c.KVHeads != 0 {
		f.want("num_key_value_heads", fmt.Sprintf("a divisor of num_attention_heads = %d", c.Heads))
	}
	known := c.HiddenSize%c.Heads == 0
	c.HeadDim = c.HiddenSize / c.Heads
	if f.has("head_dim") {
		known = json.Unmarshal(f.raw["head_dim"], &c.HeadDim) == nil
	}
	// Rotary embedding turns pairs of components.
	if !known || c.HeadDim%2 != 0 || c.HeadDim < 2 || c.HeadDim > maxSize/c.Heads {
		f.want("head_dim", fmt.Sprintf("an even integer from 2 to %d, as hidden_size / num_attention_heads = %d / %d must be where it is left out",
			maxSize/c.Heads, c.HiddenSize, c.Heads))
	}
}

// readType reads "dtype", which transformers 5 writes for "torch_dtype".
func (c *Config) readType(f fields) {
	name := "torch_dtype"
	if f.has("dtype") {
		name = "dtype"
	}
	types := map[string]DType{"bfloat16": BF16, "float16": F16, "float32": F32}
	c.Type = types[f.oneOf(name, "", "bfloat16", "float16", "float32")]
}

// refuse notes every field that asks for arithmetic this program does not do.
func refuse(f fields, mistral bool, positions int) {
	f.oneOf("hidden_act", "silu", "silu")
	for _, name := range []string{"attention_bias", "mlp_bias"} {
		if f.bool(name) {
			f.want(name, "false: projections with a bias are not supported")
		}
	}
	if f.has("quantization_config") {
		f.want("quantization_config", "none: quantized weights are not supported")
	}
	if f.positiveOr("partial_rotary_factor", 1) != 1 {
		f.want("partial_rotary_factor", "1: rotary embedding of a part of the head is not supported")
	}
	// Left out, the window is 4096 in transformers' MistralConfig. Llama has none.
	_, given := f.raw["sliding_window"]
	if mistral && (!given || f.has("sliding_window") && f.size("sliding_window", maxSize) < positions) {
		f.want("sliding_window", "null or at least max_position_embeddings: sliding windows are not supported")
	}
}

// samplingKeys are those of generation_config.json that say how conversations are to be sampled.
var samplingKeys = []string{"temperature", "top_p", "top_k", "min_p", "repetition_penalty"}

// addGeneration adds the end tokens and the sampling of generation_config.json.
func (c *Config) addGeneration(text []byte) error {
	f, err := parseFields(text)
	if err != nil {
		return err
	}
	for _, id := range f.tokens("eos_token_id", c.VocabSize) {
		if !slices.Contains(c.EOS, id) {
			c.EOS = append(c.EOS, id)
		}
	}
	c.Sampling = map[string]json.RawMessage{}
	for _, key := range samplingKeys {
		if f.has(key) {
			c.Sampling[key] = f.raw[key]
		}
	}
	return f.err()
}

// readText reads a small file whole.
func readText(fsys fs.FS, name string) ([]byte, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxJSON+1))
	if err == nil && len(text) > maxJSON {
		err = fmt.Errorf("is above the limit of %d bytes", maxJSON)
	}
	return text, err
}
