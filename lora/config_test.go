package lora

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/shaders"
)

func settingsOf(t testing.TB, changes object) ([]setting, error) {
	text, err := json.Marshal(object{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all-linear"}.with(changes))
	require.NoError(t, err)
	return parseSettings(text, testBase(shaders.F32))
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []struct {
		changes object
		want    string
	}{
		{object{"peft_type": nil}, `peft_type: got nothing, want "LORA"`},
		{object{"peft_type": "IA3"}, `peft_type: got "IA3", want "LORA"`},
		{object{"r": 0}, "r: got 0"},
		{object{"r": -4}, "r: got -4"},
		{object{"r": "4"}, `r: got "4", want an integer`},
		{object{"r": 4.5}, "r: got 4.5, want an integer"},
		{object{"lora_alpha": "8"}, `lora_alpha: got "8", want a number`},
		{object{"lora_alpha": 1e300}, "lora_alpha: 1e+300 is too large"},
		{object{"use_rslora": "yes"}, `use_rslora: got "yes", want true or false`},
		{object{"target_modules": 1}, "target_modules: got 1, want a string or a list of strings"},
		{object{"target_modules": "("}, "target_modules: error parsing regexp"},
		{object{"target_modules": []string{}}, "no module of the base model is targeted"},
		{object{"target_modules": ""}, "no module of the base model is targeted"},
		{object{"exclude_modules": "["}, "exclude_modules: error parsing regexp"},
		{object{"rank_pattern": []int{1}}, "rank_pattern: got [1], want an object of numbers"},
		{object{"rank_pattern": object{"q_proj": 0}}, `rank_pattern: "q_proj": got 0`},
		{object{"rank_pattern": object{"q_proj": 1.5}}, `rank_pattern: "q_proj": got 1.5`},
		{object{"rank_pattern": object{"*": 1}}, "rank_pattern: error parsing regexp"},
		{object{"alpha_pattern": object{"q_proj": "1"}}, `alpha_pattern: got {"q_proj":"1"}, want an object of numbers`},
		{object{"layers_to_transform": 1}, "layers_to_transform: allowed only when target_modules is a list"},
		{object{"layers_pattern": "layers"}, "layers_pattern: allowed only when target_modules is a list"},
		{object{"target_modules": []string{"q_proj"}, "layers_pattern": "layers"}, "layers_pattern: allowed only together"},
		{object{"target_modules": []string{"q_proj"}, "layers_to_transform": "1"}, `layers_to_transform: got "1", want an integer or a list of integers`},
		{object{"target_modules": []string{"q_proj"}, "layers_to_transform": 9}, "no module of the base model is targeted"},
		{object{"bias": "some"}, `bias: got "some"`},
		{object{"lora_bias": 1}, "lora_bias: got 1, want true or false"},
		{object{"lora_bias": true, "target_modules": []string{"q_proj", "embed_tokens"}}, "lora_bias: the embedding takes none"},
		{object{"ensure_weight_tying": true, "target_modules": []string{"embed_tokens"}}, "ensure_weight_tying: one pair of matrices"},
		{object{"ensure_weight_tying": true, "target_modules": []string{"lm_head"}}, "ensure_weight_tying: one pair of matrices"},
		{object{"use_dora": true}, "use_dora"},
		{object{"use_qalora": true}, "use_qalora"},
		{object{"modules_to_save": []string{"lm_head"}}, "modules_to_save: modules trained and saved whole are not supported"},
		{object{"trainable_token_indices": []int{1}}, "trainable_token_indices"},
		{object{"trainable_token_indices": object{"embed_tokens": []int{1}}}, "trainable_token_indices"},
		{object{"target_parameters": []string{"w"}}, "target_parameters"},
		{object{"layer_replication": [][]int{{0, 2}}}, "layer_replication"},
		{object{"alora_invocation_tokens": []int{1}}, "alora_invocation_tokens"},
		{object{"use_bdlora": object{"nblocks": 2}}, "use_bdlora"},
		{object{"init_lora_weights": "pissa_niter_16"}, `init_lora_weights: "pissa_niter_16" changes the base`},
		{object{"init_lora_weights": "OLoRA"}, "init_lora_weights"},
		{object{"target_modules": "((((a*)*)*)*)*b|(.*.*.*)*[^a-z_.0-9]"}, "target_modules: match timeout"},
		{object{"exclude_modules": "((((a*)*)*)*)*b|(.*.*.*)*[^a-z_.0-9]"}, "exclude_modules: match timeout"},
		{object{"rank_pattern": object{"((((a*)*)*)*)*b|(.*.*.*)*[^a-z_.0-9]": 2}}, "rank_pattern: match timeout"},
	} {
		_, err := settingsOf(t, c.changes)
		require.ErrorContains(t, err, c.want, "%v", c.changes)
		require.NotContains(t, err.Error(), "\n", "one reason")
	}
	for _, text := range []string{"null", "[]", `"LORA"`} {
		_, err := parseSettings([]byte(text), testBase(shaders.F32))
		require.EqualError(t, err, "not a JSON object", "%q", text)
	}
	for _, text := range []string{"", "{", `{"peft_type": "LORA"} x`} {
		_, err := parseSettings([]byte(text), testBase(shaders.F32))
		require.Error(t, err, "%q", text)
	}
}

// TestConfigAllows has keys as PEFT writes them that change nothing.
func TestConfigAllows(t *testing.T) {
	plain, err := settingsOf(t, nil)
	require.NoError(t, err)
	same, err := settingsOf(t, object{
		"ensure_weight_tying": true, "auto_mapping": nil, "base_model_name_or_path": "org/model", "bias": "all", "corda_config": nil,
		"eva_config": nil, "exclude_modules": []string{}, "fan_in_fan_out": true, "inference_mode": true,
		"init_lora_weights": "gaussian", "layer_replication": nil, "loftq_config": object{}, "lora_bias": false,
		"lora_dropout": 0.1, "megatron_core": "megatron.core", "modules_to_save": []string{}, "qalora_group_size": 16,
		"target_parameters": []string{}, "task_type": "CAUSAL_LM", "use_dora": false, "use_qalora": false,
		"rank_pattern": object{}, "alpha_pattern": object{},
	})
	require.NoError(t, err)
	require.Equal(t, plain, same)
	null, err := parseSettings([]byte(`{"peft_type": "LORA", "r": 4, "target_modules": "ALL-linear", "use_rslora": null,
		"rank_pattern": null, "alpha_pattern": null, "layers_to_transform": null, "layers_pattern": null,
		"modules_to_save": null, "trainable_token_indices": null}`), testBase(shaders.F32))
	require.NoError(t, err)
	require.Equal(t, plain, null, "the default alpha is 8")
}

func TestConfigDefaults(t *testing.T) {
	got, err := parseSettings([]byte(`{"peft_type": "LORA"}`), testBase(shaders.F32))
	require.NoError(t, err)
	for i, s := range got {
		want := setting{}
		if _, site := testBase(shaders.F32).site(i); site == Q || site == V {
			want = setting{rank: 8, scale: 1}
		}
		require.Equal(t, want, s)
	}
}

func TestConfigScale(t *testing.T) {
	r := random(t)
	rank, alpha := 1+r.IntN(64), float64(1+r.IntN(500))/4
	for _, c := range []struct {
		rsLoRA bool
		want   float64
	}{{false, alpha / float64(rank)}, {true, alpha / math.Sqrt(float64(rank))}} {
		got, err := settingsOf(t, object{"r": rank, "lora_alpha": alpha, "use_rslora": c.rsLoRA})
		require.NoError(t, err)
		require.Equal(t, setting{rank, float32(c.want), false}, got[0])
	}
}

func TestConfigBias(t *testing.T) {
	got, err := settingsOf(t, object{"lora_bias": true, "target_modules": []string{"o_proj", "lm_head"}})
	require.NoError(t, err)
	base := testBase(shaders.F32)
	for i, s := range got {
		_, site := base.site(i)
		require.Equal(t, site == O || site == LMHead, s == setting{4, 2, true}, "site %d", i)
	}
}
