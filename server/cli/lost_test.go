package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/model"
	"lorikeet/server"
	"lorikeet/server/engine"
)

// lossyModel loses its device in the step at which left, counted down once a step, comes to one.
type lossyModel struct {
	engine.Model
	left *atomic.Int32
}

func (m lossyModel) Collect(s *model.Step, out []model.Output) ([]model.Output, error) {
	if m.left.Add(-1) == 0 {
		return out, fmt.Errorf("compute: wait: %w", compute.ErrDeviceLost)
	}
	return m.Model.Collect(s, out)
}

// fragile serves the demo on a device that can be lost, and that comes back once again is sent to.
func fragile(t *testing.T) (url string, left *atomic.Int32, again chan struct{}) {
	t.Helper()
	f := parseServe(t, "--max-running-requests", "4")
	h, err := openHost(&f, Env{Stdout: io.Discard, Stderr: io.Discard, Demo: os.DirFS(demoFolder)})
	require.NoError(t, err)
	require.NoError(t, h.loadAdapters(t.Context()))
	left, again = new(atomic.Int32), make(chan struct{}, 1)
	again <- struct{}{}
	s := &supervisor{open: func(ctx context.Context) (machine, error) {
		select {
		case <-again:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		p, err := h.assemble(ctx)
		if err != nil {
			return nil, err
		}
		return p.bind(lossyModel{p.model, left}, ""), nil
	}}
	require.NoError(t, s.start(t.Context()))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	served, ran := make(chan error, 1), make(chan error, 1)
	go func() { served <- server.Serve(ctx, l, server.New(h.serverConfig(), s, h.tokenizer()), time.Minute) }()
	running, rest := context.WithCancel(context.Background())
	go func() { ran <- s.run(running) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-served)
		rest()
		require.NoError(t, <-ran)
		require.NoError(t, h.close())
	})
	return "http://" + l.Addr().String(), left, again
}

func parseServe(t *testing.T, args ...string) Config {
	t.Helper()
	c, err := parse(args...)
	require.NoError(t, err)
	return c
}

// TestServingGoesOnAfterALostDevice loses the device twice, under a stream and under a request that is not one.
func TestServingGoesOnAfterALostDevice(t *testing.T) {
	url, left, again := fragile(t)
	path, err := filepath.Abs(demoFolder + "/adapters/lora1")
	require.NoError(t, err)
	var change struct {
		Loaded map[string]string `json:"loaded_adapters"`
	}
	require.Equal(t, 200, ask(t, url+"/load_lora_adapter", fmt.Sprintf(`{"lora_name":"late","lora_path":%q}`, path), &change))
	body := func(more string) string {
		return fmt.Sprintf(`{"text":%q,"lora_path":"late","sampling_params":{"max_new_tokens":24,"temperature":0,"ignore_eos":true}%s}`, capitals, more)
	}
	var before, after answered
	require.Equal(t, 200, ask(t, url+"/generate", body(""), &before))

	for _, stream := range []bool{true, false} {
		left.Store(6)
		res, err := http.Post(url+"/generate", "application/json", strings.NewReader(body(fmt.Sprintf(`,"stream":%v`, stream))))
		require.NoError(t, err)
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		res.Body.Close()
		require.Contains(t, string(text), "device lost")
		if stream {
			require.Equal(t, 200, res.StatusCode)
			require.Contains(t, string(text), `"output_ids":[`, "some tokens came before")
			require.True(t, strings.HasSuffix(string(text), "data: [DONE]\n\n"))
		} else {
			require.Equal(t, 500, res.StatusCode)
		}

		// Nothing is there to run on, and nothing else is lost.
		for _, path := range []string{"/health", "/health_generate"} {
			require.Eventually(t, func() bool { return status(t, url+path) == 503 }, time.Minute, time.Millisecond)
		}
		res, err = http.Post(url+"/generate", "application/json", strings.NewReader(body("")))
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, 503, res.StatusCode)
		require.Equal(t, "1", res.Header.Get("Retry-After"))
		require.Equal(t, 200, ask(t, url+"/unload_lora_adapter", `{"lora_name":"lora2"}`, &change))
		require.Equal(t, 200, ask(t, url+"/load_lora_adapter", `{"lora_name":"lora2","lora_path":"embedded:lora2"}`, &change))
		require.Len(t, change.Loaded, 4)

		again <- struct{}{}
		require.Eventually(t, func() bool { return status(t, url+"/health") == 200 }, time.Minute, time.Millisecond)
		require.Equal(t, 200, ask(t, url+"/generate", body(""), &after))
		require.Equal(t, before, after, "the adapter has kept its name and its weights")
	}
}

func status(t *testing.T, url string) int {
	t.Helper()
	res, err := http.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	return res.StatusCode
}

// TestStopLetsAStreamEnd stops the server in the middle of a stream.
func TestStopLetsAStreamEnd(t *testing.T) {
	url, log, stop := serving(t, "--shutdown-timeout", "300")
	res, err := http.Post(url+"/generate", "application/json",
		strings.NewReader(`{"text":"a","stream":true,"sampling_params":{"max_new_tokens":40,"ignore_eos":true}}`))
	require.NoError(t, err)
	defer res.Body.Close()
	events := bufio.NewReader(res.Body)
	_, err = events.ReadString('\n')
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	rest, err := io.ReadAll(events)
	require.NoError(t, err)
	require.Contains(t, string(rest), `"finish_reason":{"type":"length","length":40}`)
	require.True(t, strings.HasSuffix(string(rest), "data: [DONE]\n\n"))
	require.NoError(t, <-ended)
	require.Contains(t, log.String(), "stopping")
}
