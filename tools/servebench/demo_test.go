package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestChurnOnTheDemo does the same, in small, with a trained model whose answers PEFT has given as well.
func TestChurnOnTheDemo(t *testing.T) {
	url, logged := serve(t, "--max-loras-per-batch", "4")
	names := []string{"lora0", "lora1", "lora2"}
	args := []string{
		"-url", url, "-name", "demo", "-requests", "80", "-adapters", "12", "-popularity", "zipf:1.1", "-base", "0.1",
		"-arrivals", "closed:12", "-prompts", demoFolder + "/expected.json", "-output", "4-8", "-leave", "0.05",
		"-swap-every", "10", "-check",
	}
	for _, name := range names {
		args = append(args, filepath.Join(demoFolder, "adapters", name))
	}
	o, err := parseOptions(args)
	require.NoError(t, err)
	p, r, err := bench(t.Context(), o)
	require.NoError(t, err)
	requireBalanced(t, o, p, r, logged)
	require.Greater(t, r.Compared, 0.5)
	requireLikePEFT(t, p.solos, names)
}

// requireLikePEFT checks that what is certain of the solo answers is what PEFT answers.
func requireLikePEFT(t *testing.T, s *solos, names []string) {
	text, err := os.ReadFile(demoFolder + "/expected.json")
	require.NoError(t, err)
	var file struct {
		Cases []struct {
			Outputs map[string]struct {
				IDs []int32 `json:"ids"`
			} `json:"outputs"`
		} `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(text, &file))
	for prompt, c := range file.Cases {
		for folder := base; folder < len(names); folder++ {
			name := "base"
			if folder != base {
				name = names[folder]
			}
			want, got := c.Outputs[name].IDs, s.answers[soloKey{prompt, folder}].ids
			n := min(len(want), len(got)) // the demo stops at its end token, a solo answer goes on
			require.Equal(t, want[:n], got[:n], "prompt %d under %s", prompt, name)
		}
	}
}
