package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/server/cli"
)

const demoFolder = "../../testdata/demo"

// TestMain keeps compiled pipelines out of the user's cache.
func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "lorikeet-cache")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_CACHE_HOME", folder)
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// log is a writer that may be read meanwhile.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var readyLine = regexp.MustCompile(`msg=ready url=(\S+)`)

// serve runs the lorikeet command in this process and returns where it listens and what it logs. At the end of the test
// it must stop without an error.
func serve(t *testing.T, args ...string) (url string, logged *log) {
	logged = new(log)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		args := append([]string{"serve", "--port", "0"}, args...)
		done <- cli.Run(ctx, args, cli.Env{Stdout: logged, Stderr: logged, Demo: os.DirFS(demoFolder)})
	}()
	for {
		if m := readyLine.FindStringSubmatch(logged.String()); m != nil {
			t.Cleanup(func() {
				cancel()
				require.NoError(t, <-done)
			})
			return m[1], logged
		}
		select {
		case err := <-done:
			t.Fatalf("serve ended: %v\n%s", err, logged)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// tinyModel writes the config of a model that a CPU runs fast. Weights and KV in fp32 leave little that is uncertain.
func tinyModel(t *testing.T) string {
	folder := t.TempDir()
	config, err := json.Marshal(map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "dtype": "float32",
		"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
		"head_dim": 16, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 512,
		"vocab_size": 512, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 1,
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "config.json"), config, 0o600))
	return folder
}

// fairness is for how many answers 99 of 100 requests may wait, as a multiple of the streams. Every other stream may
// have asked before; the rest is for those whom the scheduler lets overtake while an adapter finds no slot.
const fairness = 4

// requireBalanced checks that a run lost nothing, that every answer was that of the prompt alone, and that the server
// has everything back.
func requireBalanced(t *testing.T, o *options, p *player, r *report, logged *log) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Log(logged)
		}
	}()
	var table bytes.Buffer
	require.NoError(t, printTable(&table, r))
	t.Log("\n" + table.String())
	require.Zero(t, r.Lost)
	require.Zero(t, r.Refused)
	require.Zero(t, r.Wrong)
	require.Zero(t, r.Failed)
	require.Zero(t, r.Taken)
	leavers := 0
	for _, q := range p.trace.requests {
		if q.leave != stays {
			leavers++
		}
	}
	require.NotZero(t, leavers)
	require.Equal(t, leavers, r.Left)
	require.Equal(t, o.plan.requests-leavers, r.Answered)
	require.Equal(t, o.plan.requests/o.plan.swapEvery, r.Swaps)
	require.Zero(t, r.Idle.Pages.Running, "pages of requests with nothing running")
	require.Zero(t, r.Idle.leaked(), "pages that nobody may have")
	require.LessOrEqual(t, r.Waited.P99, fairness*float64(o.plan.arrivals.streams))
	require.NoError(t, p.directory.unregister(t.Context(), p.client), "an adapter that is still in use cannot be unloaded")
	require.NotContains(t, logged.String(), "level=ERROR")
}

// TestChurn sends 2 000 requests over 200 adapters through 8 slots and 24 places in host memory, while clients leave and
// adapters are replaced.
func TestChurn(t *testing.T) {
	folder := tinyModel(t)
	const distinct, rank = 8, 4
	adapters := filepath.Join(folder, "adapters")
	require.NoError(t, makeAdapters(folder, adapters, distinct, rank, 1))
	url, logged := serve(t, "--model-path", folder, "--load-format", "dummy", "--allow-cpu", "--enable-lora",
		"--max-lora-rank", fmt.Sprint(rank), "--lora-target-modules", "all", "--max-loras-per-batch", "8", "--max-loaded-loras", "24")
	args := []string{
		"-url", url, "-name", "churn", "-requests", "2000", "-adapters", "200", "-popularity", "zipf:1.1", "-base", "0.1",
		"-arrivals", "closed:48", "-input", "20-60", "-prefix", "16", "-pool", "6", "-vocab", "512", "-output", "4-8",
		"-leave", "0.05", "-swap-every", "20", "-check", "-rounding", "0.002",
	}
	for i := range distinct {
		args = append(args, filepath.Join(adapters, fmt.Sprintf("adapter-%d", i)))
	}
	o, err := parseOptions(args)
	require.NoError(t, err)
	p, r, err := bench(t.Context(), o)
	require.NoError(t, err)
	requireBalanced(t, o, p, r, logged)
	require.NotZero(t, r.Cached, "prompts have the same beginning")
	require.Greater(t, r.Compared, 0.9)
	requireDistinct(t, p.solos, distinct)
}

// requireDistinct checks that no two folders answer the same, so that a comparison finds an answer of the wrong one.
func requireDistinct(t *testing.T, s *solos, folders int) {
	seen := map[string]int{}
	for folder := base; folder < folders; folder++ {
		answers := ""
		for prompt := 0; len(s.answers[soloKey{prompt, folder}].ids) > 0; prompt++ {
			answers += fmt.Sprint(s.answers[soloKey{prompt, folder}].ids)
		}
		other, twice := seen[answers]
		require.False(t, twice, "folders %d and %d", folder, other)
		seen[answers] = folder
	}
}
