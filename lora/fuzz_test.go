package lora

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"lorikeet/shaders"
)

func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		`{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "layers_to_transform": [0, 1], "layers_pattern": "layers"}`,
		`{"peft_type": "LORA", "target_modules": "all-linear", "exclude_modules": ".*\\.0\\..*", "use_rslora": true}`,
		`{"peft_type": "LORA", "target_modules": "(?!x).*q_proj", "rank_pattern": {"^model.*q_proj": 3}, "alpha_pattern": {"q_proj": 0.5}}`,
		`{"peft_type": "LORA", "use_dora": true, "modules_to_save": ["lm_head"], "trainable_token_indices": {"embed_tokens": [1]}}`,
	} {
		f.Add([]byte(seed))
	}
	base := testBase(shaders.F32)
	f.Fuzz(func(t *testing.T, text []byte) {
		settings, err := parseSettings(text, base)
		if err != nil {
			return
		}
		rank, _ := extent(settings, base)
		require.Positive(t, rank)
		require.Len(t, settings, base.SitesPerSlot())
	})
}

func FuzzRead(f *testing.F) {
	base := testBase(shaders.BF16)
	r := random(f)
	for _, dtype := range dtypes {
		good := folder(f, plainConfig(2, "q_proj"), matrices(r, base, 0, Q, 2, dtype))
		f.Add(good[configFile].Data, good[weightsFile].Data, []byte(`{"<pad>": 1}`))
		outer := folder(f, plainConfig(2, "embed_tokens", "lm_head"),
			append(matrices(r, base, 0, EmbedTokens, 2, dtype), matrices(r, base, 0, LMHead, 2, dtype)...))
		f.Add(outer[configFile].Data, outer[weightsFile].Data, []byte(nil))
		biased := folder(f, plainConfig(2, "o_proj").with(object{"lora_bias": true}),
			append(matrices(r, base, 1, O, 2, dtype), biasOf(r, base, 1, O, dtype)))
		f.Add(biased[configFile].Data, biased[weightsFile].Data, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, config, weights, added []byte) {
		a, err := read(fstest.MapFS{
			configFile: {Data: config}, weightsFile: {Data: weights}, "added_tokens.json": {Data: added},
		}, base)
		if err != nil {
			require.ErrorIs(t, err, ErrRefused)
			return
		}
		require.LessOrEqual(t, a.Bytes(), base.Bytes(testLimits))
		for i, w := range a.Sites {
			_, site := base.site(i)
			require.LessOrEqual(t, w.Rank, a.Rank)
			require.LessOrEqual(t, w.Products(), a.Products)
			require.Len(t, w.A, w.Rank*stride(base.In[site])*2)
			require.Len(t, w.B, w.Products()*stride(base.Out[site])*2)
			require.True(t, finite(w.A, base.Type) && finite(w.B, base.Type))
		}
	})
}
