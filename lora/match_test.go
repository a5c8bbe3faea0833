package lora

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/shaders"
)

// TestTargets lists what PEFT targets: each site as its layer and the first
// letter of its name.
func TestTargets(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes object
		want    string
	}{
		{"suffix", object{"target_modules": []string{"v_proj"}}, "0v 1v 2v"},
		{"longer suffix", object{"target_modules": []string{"self_attn.v_proj", "mlp.up_proj"}}, "0v 0u 1v 1u 2v 2u"},
		{"suffix from within a part", object{"target_modules": []string{"proj", "q_proj"}}, "0q 1q 2q"},
		{"whole name", object{"target_modules": []string{"model.layers.1.mlp.down_proj"}}, "1d"},
		{"unknown names are no fault", object{"target_modules": []string{"c_attn", "k_proj"}}, "0k 1k 2k"},
		{"expression", object{"target_modules": `model\.layers\.[02]\.(self_attn|mlp)\.(q|down)_proj`}, "0q 0d 2q 2d"},
		{"expression must match whole", object{"target_modules": `.*[qk]_pro|.*\.1\..*o_proj`}, "1o"},
		{"lookahead", object{"target_modules": `^(?!.*mlp)(?!.*\.0\.).*[kv]_proj$`}, "1k 1v 2k 2v"},
		{"named group", object{"target_modules": `(?P<before>.*)\.gate_proj`}, "0g 1g 2g"},
		{"layers", object{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{0, 2}}, "0q 2q"},
		{"one layer", object{"target_modules": []string{"q_proj"}, "layers_to_transform": 1}, "1q"},
		{"no layers listed means all", object{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{}}, "0q 1q 2q"},
		{"whole name beats layers", object{"target_modules": []string{"q_proj", "model.layers.1.self_attn.k_proj"}, "layers_to_transform": []int{2}}, "1k 2q"},
		{"layers pattern", object{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{2}, "layers_pattern": []string{"h", "layers"}}, "2q"},
		{"layers pattern of another model", object{"target_modules": []string{"q_proj", "model.layers.1.self_attn.k_proj"}, "layers_to_transform": []int{2}, "layers_pattern": "h"}, "1k"},
		{"layers pattern is an expression", object{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{1}, "layers_pattern": "la.+s"}, "1q"},
		{"exclude", object{"target_modules": []string{"q_proj", "o_proj"}, "exclude_modules": []string{"q_proj", "model.layers.0.self_attn.o_proj"}}, "1o 2o"},
		{"exclude expression", object{"target_modules": "all-linear", "exclude_modules": `.*\.[01]\..*|.*mlp.*`}, "2q 2k 2v 2o"},
		{"exclude by a part", object{"target_modules": []string{"q_proj"}, "exclude_modules": "q_proj"}, "0q 1q 2q"},
		{"no layer", object{"target_modules": []string{"lm_head", "embed_tokens", "k_proj"}}, "0k 1k 2k 0e 0l"},
		{"no layer, by expression", object{"target_modules": "model.embed_tokens|.*1.*[vd].*_proj|.*head"}, "1v 1d 0e 0l"},
		{"no layer is none of the listed", object{"target_modules": []string{"embed_tokens", "k_proj"}, "layers_to_transform": []int{0, 1}}, "0k 1k"},
		{"no layer by its whole name", object{"target_modules": []string{"lm_head", "model.embed_tokens"}, "layers_to_transform": []int{0}}, "0e 0l"},
		{"no layer, excluded", object{"target_modules": ".*(lm_head|embed_tokens)", "exclude_modules": []string{"lm_head"}}, "0e"},
		{"all-linear is no expression to exclude", object{"target_modules": []string{"q_proj"}, "exclude_modules": "all-linear"}, "0q 1q 2q"},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings, err := settingsOf(t, c.changes)
			require.NoError(t, err)
			var got []string
			for i, s := range settings {
				if s.rank > 0 {
					layer, site := testBase(shaders.F32).site(i)
					got = append(got, string(rune('0'+layer))+site.String()[:1])
				}
			}
			require.Equal(t, c.want, strings.Join(got, " "))
		})
	}
}

// TestPatterns lists ranks and scales of some modules under rank_pattern and
// alpha_pattern, which are matched apart from each other.
func TestPatterns(t *testing.T) {
	const config = `{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all",
		"rank_pattern": {"layers.1.self_attn.q_proj": 2, "q_proj": 16, "^model.layers.2.mlp.up_proj": 32, "proj": 5, "mlp\\.(gate|down)_proj": 8, "q_proj$": 9},
		"alpha_pattern": {".*q_proj": 32, "1.mlp.gate_proj": 3.5, "^layers.0.mlp.down_proj": 99}}`
	settings, err := parseSettings([]byte(config), testBase(shaders.F32))
	require.NoError(t, err)
	at := func(layer int, s Site) setting { return settings[layer*int(Sites)+int(s)] }
	require.Equal(t, setting{16, 2, false}, at(0, Q), "the first key that matches counts")
	require.Equal(t, setting{2, 16, false}, at(1, Q))
	require.Equal(t, setting{4, 2, false}, at(0, K), "proj matches no whole part")
	require.Equal(t, setting{32, 0.25, false}, at(2, Up), "^ is the beginning of the name")
	require.Equal(t, setting{4, 2, false}, at(1, Up))
	require.Equal(t, setting{8, 0.4375, false}, at(1, Gate))
	require.Equal(t, setting{8, 1, false}, at(0, Down), "^ is not what follows a dot")
}
