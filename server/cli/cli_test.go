package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
)

const demoFolder = "../../testdata/demo"

// TestMain keeps the pipelines that the tests compile from one test to the next, and out of the user's cache.
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

// output is a writer that may be read meanwhile.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// command runs a command line to its end.
func command(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out, log output
	err = Run(t.Context(), args, Env{Stdout: &out, Stderr: &log, Demo: os.DirFS(demoFolder)})
	return out.String(), err
}

var readyLine = regexp.MustCompile(`msg=ready url=(\S+)`)

// serving starts serve and returns where it listens, what it logs, and how to stop it.
func serving(t *testing.T, args ...string) (url string, log *output, stop func() error) {
	t.Helper()
	log = new(output)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, append([]string{"serve", "--port", "0", "--max-running-requests", "4"}, args...), Env{Stdout: io.Discard, Stderr: log, Demo: os.DirFS(demoFolder)})
	}()
	deadline := time.After(2 * time.Minute)
	for {
		if m := readyLine.FindStringSubmatch(log.String()); m != nil {
			stop := sync.OnceValue(func() error { cancel(); return <-done })
			t.Cleanup(func() { require.NoError(t, stop()) })
			return m[1], log, stop
		}
		select {
		case err := <-done:
			t.Fatalf("serve ended: %v\n%s", err, log)
		case <-deadline:
			t.Fatalf("not ready:\n%s", log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// ask posts JSON and decodes the answer.
func ask(t *testing.T, url, body string, v any) int {
	t.Helper()
	res, err := http.Post(url, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer res.Body.Close()
	require.NoError(t, json.NewDecoder(res.Body).Decode(v))
	return res.StatusCode
}

type answered struct {
	Text string `json:"text"`
}

const capitals = "List 3 countries and their capitals."

func TestServeTheDemo(t *testing.T) {
	url, log, stop := serving(t, "--lora-backend", "triton", "--disable-radix-cache")
	require.Contains(t, log.String(), "msg=device")
	require.Equal(t, 1, strings.Count(log.String(), "these flags change nothing here"))
	body := func(adapters string) string {
		return fmt.Sprintf(`{"text":[%q,%q],"sampling_params":{"max_new_tokens":32,"temperature":0},"lora_path":%s}`, capitals, capitals, adapters)
	}
	var first, second []answered
	require.Equal(t, 200, ask(t, url+"/generate", body(`["lora0",null]`), &first))
	require.Contains(t, first[0].Text, "France, Paris")
	require.Contains(t, first[1].Text, "1. ")
	require.Equal(t, 200, ask(t, url+"/generate", body(`["lora0","lora1"]`), &second))
	require.Equal(t, first[0], second[0])
	require.Contains(t, second[1].Text, "SELECT")

	var change struct {
		Success bool              `json:"success"`
		Message string            `json:"error_message"`
		Loaded  map[string]string `json:"loaded_adapters"`
	}
	require.Equal(t, 200, ask(t, url+"/unload_lora_adapter", `{"lora_name":"lora0"}`, &change))
	require.NotContains(t, change.Loaded, "lora0")
	path, err := filepath.Abs(demoFolder + "/adapters/lora1")
	require.NoError(t, err)
	require.Equal(t, 200, ask(t, url+"/load_lora_adapter", fmt.Sprintf(`{"lora_name":"lora0","lora_path":%q}`, path), &change))
	require.Equal(t, path, change.Loaded["lora0"])
	require.Equal(t, 200, ask(t, url+"/generate", body(`["lora0","lora1"]`), &second))
	require.Equal(t, second[1], second[0], "lora0 is now what lora1 is")
	require.Equal(t, 400, ask(t, url+"/load_lora_adapter", `{"lora_name":"none","lora_path":"/no/such/folder"}`, &change))
	require.Contains(t, change.Message, "/no/such/folder")
	require.NoError(t, stop())
	require.Contains(t, log.String(), "stopping")
}

func TestChatWithTheDemo(t *testing.T) {
	template := filepath.Join(t.TempDir(), "last.jinja")
	require.NoError(t, os.WriteFile(template, []byte(`{{ bos_token }}{{ messages[-1].content + '\n' }}`), 0o600))
	for _, args := range [][]string{nil, {"--chat-template", template}} {
		url, _, _ := serving(t, args...)
		var answer struct {
			Choices []struct{ Message struct{ Content string } }
		}
		body := `{"model":%q,"messages":[%s{"role":"user","content":"` + capitals + `"}],"temperature":0}`
		require.Equal(t, 200, ask(t, url+"/v1/chat/completions", fmt.Sprintf(body, "lora1", ""), &answer))
		require.Equal(t, "SELECT country, capital FROM countries LIMIT 3;", answer.Choices[0].Message.Content)
		if args != nil {
			before := `{"role":"user","content":"What is this template blind to?"},`
			require.Equal(t, 200, ask(t, url+"/v1/chat/completions", fmt.Sprintf(body, "lorikeet-demo:lora1", before), &answer))
			require.Equal(t, "SELECT country, capital FROM countries LIMIT 3;", answer.Choices[0].Message.Content)
		}
	}
}

// TestATemplateThatCannotBeRead serves all but conversations, which say why.
func TestATemplateThatCannotBeRead(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{"tokenizer.json": "", "chat_template.jinja": "{% include 'other' %}"} {
		if text == "" {
			data, err := os.ReadFile(filepath.Join(demoFolder, name))
			require.NoError(t, err)
			text = string(data)
		}
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	url, log, _ := serving(t, "--tokenizer-path", folder)
	require.Contains(t, log.String(), "there will be no /v1/chat/completions")
	var refusal struct{ Message string }
	require.Equal(t, 400, ask(t, url+"/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}]}`, &refusal))
	require.Contains(t, refusal.Message, "the model's chat template: chat: chat_template.jinja: line 1")
	var answer answered
	require.Equal(t, 200, ask(t, url+"/generate", `{"text":"a","sampling_params":{"max_new_tokens":1}}`, &answer))
}

func TestServeWithoutAdapters(t *testing.T) {
	url, _, _ := serving(t, "--enable-lora=false")
	var refusal struct{ Error struct{ Message string } }
	require.Equal(t, 400, ask(t, url+"/generate", `{"text":"a","lora_path":"lora0"}`, &refusal))
	require.Contains(t, refusal.Error.Message, "LoRA is not enabled")
	for body, want := range map[string]int{`{"prompt":"List 3 countries","max_tokens":1}`: 5, `{"prompt":"List 3 countries","max_tokens":1,"add_special_tokens":false}`: 4} {
		var scored struct {
			Usage struct {
				Prompt int `json:"prompt_tokens"`
			}
		}
		require.Equal(t, 200, ask(t, url+"/v1/completions", body, &scored))
		require.Equal(t, want, scored.Usage.Prompt, body)
	}
	var answer answered
	require.Equal(t, 200, ask(t, url+"/generate", `{"text":"`+capitals+`","sampling_params":{"max_new_tokens":3,"temperature":0},"lora_path":null}`, &answer))
	require.NotEmpty(t, answer.Text)
}

func TestServeRandomWeights(t *testing.T) {
	folder := t.TempDir()
	config, err := os.ReadFile(filepath.Join(demoFolder, "config.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "config.json"), config, 0o600))
	url, _, _ := serving(t, "--model-path", folder, "--load-format", "dummy", "--allow-cpu")
	var answer struct {
		IDs []int `json:"output_ids"`
	}
	require.Equal(t, 200, ask(t, url+"/generate", `{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":3,"ignore_eos":true}}`, &answer))
	require.Len(t, answer.IDs, 3)
}

func TestServeRefusesToStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, taken, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--port", taken}, "port " + taken + " of 127.0.0.1 is in use; choose another with --port"},
		{[]string{"--port", "0", "--model-path", "/no/such/model"}, "--model-path: checkpoint: folder: stat /no/such/model"},
		{[]string{"--port", "0", "--chat-template", "/no/such/template"}, "--chat-template: open /no/such/template"},
		{[]string{"--port", "0", "--max-loras-per-batch", "100000000"}, "--max-loras-per-batch must be at most"},
		{[]string{"--port", "0", "--device", "no such device"}, "no such device"},
		{[]string{"--port", "0", "--profile", "/no/such/folder/trace"}, "--profile: open /no/such/folder/trace"},
		{[]string{"--port", "0", "--profile", demoFolder}, "--profile: open ../../testdata/demo: is a directory"},
		{[]string{"--port", "0", "--lora-paths", "a=/no/such/adapter"}, "/no/such/adapter"},
		{[]string{"--port", "0", "--dtype", "float32"}, "--dtype float32"},
		{[]string{"--port", "0", "--context-length", "1000000"}, "--context-length 1000000"},
		{[]string{"--port", "0", "--served-model-name", "lora1"}, "--served-model-name lora1 is an adapter's name"},
		{[]string{"--tp-size", "2"}, "--tp-size 2"},
		{[]string{"--no-such-flag"}, "unknown flag --no-such-flag"},
		{[]string{"stray"}, `serve takes flags only, not "stray"`},
		{[]string{"--enable-lora", "true"}, `serve takes flags only, not "true"`},
	} {
		_, err := command(t, append([]string{"serve"}, c.args...)...)
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "\n", "one line")
	}
}

func TestPlan(t *testing.T) {
	last := func(args ...string) string {
		out, err := command(t, append([]string{"plan"}, args...)...)
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		return lines[len(lines)-1]
	}
	plain, adapted := last("--tokens", "1"), last("--tokens", "1", "--enable-lora")
	require.Equal(t, plain, adapted, "adapters add no stage")
	var stages int
	_, err := fmt.Sscanf(plain, "stages per layer: %d", &stages)
	require.NoError(t, err)
	require.Equal(t, 5, stages)
	with, err := command(t, "plan", "--tokens", "1", "--enable-lora")
	require.NoError(t, err)
	require.Contains(t, with, "shrink")
	without, err := command(t, "plan", "--tokens", "1")
	require.NoError(t, err)
	require.NotContains(t, without, "shrink")
	_, err = command(t, "plan", "--tokens", "0")
	require.EqualError(t, err, "--tokens must be at least 1, not 0")
	for _, tokens := range []int{65, 999999} {
		out, err := command(t, "plan", "--tokens", fmt.Sprint(tokens), "--chunked-prefill-size", "64")
		require.EqualError(t, err, fmt.Sprintf("--tokens %d: a step has at most 64 tokens on this device; see --chunked-prefill-size", tokens))
		require.Empty(t, out)
	}
}

func TestDoctor(t *testing.T) {
	out, err := command(t, "doctor")
	require.NoError(t, err)
	require.Contains(t, out, "device 0: ")
	require.Contains(t, out, "bufferDeviceAddress")

	var text bytes.Buffer
	fake := func() ([]compute.Info, error) {
		return []compute.Info{{Name: "old card", Missing: []string{"timelineSemaphore"}, LocalHeap: 8 << 30,
			CooperativeMatrix: []compute.CoopShape{{M: 16, N: 16, K: 16, A: "f16", B: "f16", C: "f32", Out: "f32", Scope: "subgroup"}}}}, nil
	}
	require.ErrorContains(t, doctor(&text, fake), "no usable Vulkan device")
	require.Regexp(t, `usable +no, it lacks timelineSemaphore`, text.String())
	require.Regexp(t, `memory +8 GiB device-local`, text.String())
	require.Regexp(t, `fma +does not run: the device lacks timelineSemaphore`, text.String())
	require.Regexp(t, `f16 · f16 \+ f32 = f32 +subgroup +16×16×16`, text.String())

	require.ErrorContains(t, doctor(&text, func() ([]compute.Info, error) { return nil, nil }), "install")
	broken := errors.New("no loader")
	require.ErrorIs(t, doctor(&text, func() ([]compute.Info, error) { return nil, broken }), broken)
}

func TestVersionAndHelp(t *testing.T) {
	out, err := command(t, "version")
	require.NoError(t, err)
	require.Contains(t, out, "lorikeet ")
	out, err = command(t, "serve", "--help")
	require.NoError(t, err)
	require.Contains(t, out, "--lora-paths")
	require.NotContains(t, out, "--disable-cuda-graph")
	out, err = command(t, "help", "plan")
	require.NoError(t, err)
	require.Contains(t, out, "--tokens")
	out, err = command(t)
	require.NoError(t, err)
	require.Contains(t, out, "doctor")
	_, err = command(t, "serv")
	require.EqualError(t, err, `unknown command "serv" for "lorikeet"; --help lists all`)
}
