package lora

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// config is what adapter_config.json says, as PEFT's LoraConfig reads it: a key
// that is left out or null has PEFT's default, an unknown key means nothing.
//
// Some keys need nothing done. lora_dropout acts in training only.
// fan_in_fan_out says how the base stores its weights: PEFT turns it off for
// linear layers, which is all a Llama has, and A and B look the same either
// way. bias trains biases of the base: the models that are served have
// none, so PEFT saves none, and weights for one are refused.
type config struct {
	rank         int
	alpha        float64
	rsLoRA       bool
	rankPattern  pattern
	alphaPattern pattern
	targets      selector
	exclude      selector
	layers       layerList
	layersUnder  selector // layers_pattern
	bias         bool     // lora_bias
	tied         bool     // ensure_weight_tying
}

// selector is a string or a list of strings.
type selector struct {
	isWord bool
	word   string
	list   []string
}

// layerList is an integer or a list of integers; nil when left out.
type layerList []int

// pattern is an object in its order: the first key that matches wins.
type pattern []override

type override struct {
	key   string
	value float64
}

// errDoRA is told apart because clients look for the words that answer it.
var errDoRA = errors.New("use_dora: DoRA is not supported")

func parseConfig(text []byte) (*config, error) {
	var raw map[string]json.RawMessage
	err := json.Unmarshal(text, &raw)
	if _, other := errors.AsType[*json.UnmarshalTypeError](err); other || err == nil && raw == nil {
		return nil, errors.New("not a JSON object")
	}
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(raw, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	if err := checkSupported(raw); err != nil {
		return nil, err
	}
	c := &config{rank: 8, alpha: 8}
	c.targets.list = []string{Q.String(), V.String()} // what PEFT targets in a Llama by default
	if err := c.decode(raw); err != nil {
		return nil, err
	}
	return c, c.check(raw)
}

func (c *config) decode(raw map[string]json.RawMessage) error {
	const strings, numbers = "a string or a list of strings", "an object of numbers"
	for _, k := range []struct {
		name  string
		value any
		want  string
	}{
		{"r", &c.rank, "an integer"}, {"lora_alpha", &c.alpha, "a number"}, {"use_rslora", &c.rsLoRA, "true or false"},
		{"rank_pattern", &c.rankPattern, numbers}, {"alpha_pattern", &c.alphaPattern, numbers},
		{"target_modules", &c.targets, strings}, {"exclude_modules", &c.exclude, strings},
		{"layers_to_transform", &c.layers, "an integer or a list of integers"}, {"layers_pattern", &c.layersUnder, strings},
		{"lora_bias", &c.bias, "true or false"}, {"ensure_weight_tying", &c.tied, "true or false"},
	} {
		if text, ok := raw[k.name]; ok && json.Unmarshal(text, k.value) != nil {
			return fmt.Errorf("%s: got %.60s, want %s", k.name, text, k.want)
		}
	}
	return nil
}

// check applies the rules of PEFT's LoraConfig.
func (c *config) check(raw map[string]json.RawMessage) error {
	hasLayers := raw["layers_to_transform"] != nil
	switch {
	case c.rank < 1:
		return fmt.Errorf("r: got %d, want at least 1", c.rank)
	case c.targets.isWord && hasLayers:
		return errors.New("layers_to_transform: allowed only when target_modules is a list")
	case c.targets.isWord && raw["layers_pattern"] != nil:
		return errors.New("layers_pattern: allowed only when target_modules is a list")
	case !c.layersUnder.empty() && !hasLayers:
		return errors.New("layers_pattern: allowed only together with layers_to_transform")
	}
	for _, o := range c.rankPattern {
		if o.value < 1 || o.value != math.Trunc(o.value) || o.value > math.MaxInt32 {
			return fmt.Errorf("rank_pattern: %q: got %v, want an integer of at least 1", o.key, o.value)
		}
	}
	return nil
}

// checkTargets refuses what the embedding and the output head cannot have.
func (c *config) checkTargets(targets Targets) error {
	switch {
	case c.bias && targets[EmbedTokens]:
		return errors.New("lora_bias: the embedding takes none, in PEFT either")
	case c.tied && (targets[EmbedTokens] || targets[LMHead]):
		return errors.New("ensure_weight_tying: one pair of matrices for both the embedding and the output head is not supported")
	}
	return nil
}

// checkSupported refuses whatever would need more than scale · B(A x).
func checkSupported(raw map[string]json.RawMessage) error {
	var bias, init string
	if text := cmp.Or(string(raw["peft_type"]), "nothing"); text != `"LORA"` {
		return fmt.Errorf("peft_type: got %s, want \"LORA\"", text)
	}
	if text := raw["bias"]; text != nil {
		if json.Unmarshal(text, &bias) != nil || !slices.Contains([]string{"none", "all", "lora_only"}, bias) {
			return fmt.Errorf("bias: got %s, want none, all or lora_only", text)
		}
	}
	if isSet(raw["use_dora"]) {
		return errDoRA
	}
	for _, feature := range [][2]string{
		{"modules_to_save", "modules trained and saved whole"},
		{"use_qalora", "pooled inputs"},
		{"use_bdlora", "block-diagonal matrices"},
		{"trainable_token_indices", "trained embeddings"},
		{"target_parameters", "parameters that are no modules"},
		{"layer_replication", "repeated layers"},
		{"alora_invocation_tokens", "activation by tokens"},
		{"monteclora_config", "sampled weights"},
		{"arrow_config", "routing between adapters"},
		{"kasa_config", "a changed base and a third matrix"},
	} {
		if isSet(raw[feature[0]]) {
			return fmt.Errorf("%s: %s are not supported", feature[0], feature[1])
		}
	}
	// These also change the base's weights, and the adapter fits only that base.
	if json.Unmarshal(raw["init_lora_weights"], &init) == nil {
		for _, method := range []string{"pissa", "olora", "corda", "loftq", "lora_ga"} {
			if strings.HasPrefix(strings.ToLower(init), method) {
				return fmt.Errorf("init_lora_weights: %q changes the base model's weights; save the adapter with them converted "+
					"(PEFT's path_initial_model_for_weight_conversion)", init)
			}
		}
	}
	return nil
}

// isSet says whether Python would take a value for true.
func isSet(text json.RawMessage) bool {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return false // left out
	}
	switch v := v.(type) {
	case bool:
		return v
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return false
}

// allLinear says whether target_modules means every linear layer but the
// output head. "all" is SGLang's word for it.
func (s *selector) allLinear() bool {
	word := strings.ToLower(s.word)
	return word == "all-linear" || word == "all"
}

func (s *selector) empty() bool { return s.word == "" && len(s.list) == 0 }

// UnmarshalJSON reads a string or a list of strings.
func (s *selector) UnmarshalJSON(text []byte) error {
	*s = selector{isWord: text[0] == '"'}
	if s.isWord {
		return json.Unmarshal(text, &s.word)
	}
	return json.Unmarshal(text, &s.list)
}

// UnmarshalJSON reads an integer or a list of integers.
func (l *layerList) UnmarshalJSON(text []byte) error {
	if text[0] == '[' {
		return json.Unmarshal(text, (*[]int)(l))
	}
	*l = make([]int, 1)
	return json.Unmarshal(text, &(*l)[0])
}

// UnmarshalJSON reads an object of numbers.
func (p *pattern) UnmarshalJSON(text []byte) error {
	var values map[string]float64
	if err := json.Unmarshal(text, &values); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		t, err := d.Token()
		if err != nil {
			break // the end: the text was valid above
		}
		key, ok := t.(string)
		if value, first := values[key]; ok && first {
			*p = append(*p, override{key, value})
			delete(values, key)
		}
	}
	return nil
}
