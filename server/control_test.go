package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/lora"
	"lorikeet/server/engine"
)

// call sends a request and decodes the answer.
func (r *rig) call(method, path, body string) (int, any) {
	r.t.Helper()
	status, text := r.do(method, path, body)
	var v any
	require.NoError(r.t, json.Unmarshal([]byte(text), &v), text)
	return status, v
}

func TestLoadAndUnloadAdapter(t *testing.T) {
	r := newRig(t)
	status, text := r.do(http.MethodPost, "/load_lora_adapter", `{"lora_name":"lora2","lora_path":"/two","lora_id":"x"}`)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"rid":null,"http_worker_ipc":null,"success":true,"error_message":"",
		"loaded_adapters":{"lora0":"/adapters/zero","lora1":"/adapters/one","lora2":"/two"}}`, text)

	status, v := r.call(http.MethodPost, "/unload_lora_adapter", `{"lora_name":"lora0"}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, map[string]any{"lora1": "/adapters/one", "lora2": "/two"}, get(t, v, "loaded_adapters"))

	for path, key := range map[string]string{"/load_lora_adapter": "upsert", "/v1/load_lora_adapter": "load_inplace"} {
		status, v = r.call(http.MethodPost, path, `{"lora_name":"lora1","lora_path":"/three","`+key+`":true}`)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, map[string]any{"lora1": "/three", "lora2": "/two"}, get(t, v, "loaded_adapters"))
	}

	r.engine.loadErr = errors.New("open /nowhere: no such file")
	status, v = r.call(http.MethodPost, "/load_lora_adapter", `{"lora_name":"l","lora_path":"/nowhere"}`)
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, false, get(t, v, "success"))
	require.Equal(t, "open /nowhere: no such file", get(t, v, "error_message"))
	require.Len(t, get(t, v, "loaded_adapters"), 2)
}

func TestAdaptersDisabled(t *testing.T) {
	r := newRig(t, func(c *Config) { c.EnableLoRA = false })
	r.engine.loadErr = lora.ErrDisabled
	for _, path := range []string{"/load_lora_adapter", "/unload_lora_adapter"} {
		status, v := r.call(http.MethodPost, path, `{"lora_name":"l","lora_path":"/p"}`)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "LoRA is not enabled. Please set `--enable-lora` to enable LoRA.", get(t, v, "error_message"))
		require.Nil(t, get(t, v, "loaded_adapters"))
	}
}

func TestAdapterRequestsAreChecked(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ path, body, want string }{
		{"/load_lora_adapter", `{"lora_path":"p"}`, "lora_name is required"},
		{"/load_lora_adapter", `{"lora_name":"l"}`, "lora_path is required"},
		{"/load_lora_adapter", `{"lora_name":"","lora_path":"p"}`, "lora_name is required"},
		{"/load_lora_adapter", `{"lora_name":"l","lora_path":""}`, "lora_path is required"},
		{"/load_lora_adapter", `{"lora_name":"meta-llama/demo","lora_path":"p"}`, "is the name that the base model is served under"},
		{"/load_lora_adapter", `{"lora_name":"l","lora_path":3}`, "lora_path must be a string, got a number"},
		{"/load_lora_adapter", `{"lora_name":"l","lora_path":"p","pinned":"y"}`, "pinned must be a boolean"},
		{"/load_lora_adapter", `{"lora_name":"l","lora_path":"p","upsert":"y"}`, "upsert must be a boolean"},
		{"/load_lora_adapter", `nope`, "not valid JSON"},
		{"/unload_lora_adapter", `{}`, "lora_name is required"},
		{"/abort_request", `{"rid":3}`, "rid must be a string"},
		{"/tokenize", `{}`, "one of prompt and messages is required"},
		{"/tokenize", `{"prompt":"a","messages":[]}`, "one of prompt and messages is required"},
		{"/tokenize", `{"prompt":3}`, "prompt must be a string or a list"},
		{"/detokenize", `{}`, "tokens is required"},
		{"/detokenize", `{"tokens":"a"}`, "tokens must be a list of integers"},
	} {
		status, v := r.call(http.MethodPost, c.path, c.body)
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, get(t, v, "message"), c.want)
		require.Equal(t, "Bad Request", get(t, v, "type"))
	}
}

func TestModels(t *testing.T) {
	r := newRig(t)
	status, v := r.call(http.MethodGet, "/v1/models", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "list", get(t, v, "object"))
	require.Equal(t, "meta-llama/demo", get(t, v, "data", 0, "id"))
	require.Equal(t, float64(fakeContext), get(t, v, "data", 0, "max_model_len"))
	require.Nil(t, get(t, v, "data", 0, "parent"))
	require.Equal(t, "lora1", get(t, v, "data", 2, "id"))
	require.Equal(t, "/adapters/one", get(t, v, "data", 2, "root"))
	require.Equal(t, "meta-llama/demo", get(t, v, "data", 2, "parent"))
	require.Nil(t, get(t, v, "data", 2, "max_model_len"))

	status, v = r.call(http.MethodGet, "/v1/models/meta-llama/demo", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "meta-llama/demo", get(t, v, "id"))
	status, v = r.call(http.MethodGet, "/v1/models/lora0", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "/adapters/zero", get(t, v, "root"))
	status, v = r.call(http.MethodGet, "/v1/models/lora9", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Equal(t, "The model 'lora9' does not exist", get(t, v, "error", "message"))
}

// TestModelInAFolder has a model named by its absolute path, as it is when --model-path is one.
func TestModelInAFolder(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ServedName = "/models/llama" })
	status, v := r.call(http.MethodGet, "/v1/models//models/llama", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "/models/llama", get(t, v, "id"))
}

func TestInfo(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/model_info", "/get_model_info"} {
		status, text := r.do(http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"model_path":"meta-llama/demo","tokenizer_path":"meta-llama/demo","is_generation":true,
			"preferred_sampling_params":null,"weight_version":"default","has_image_understanding":false,
			"has_audio_understanding":false,"model_type":"llama","architectures":["LlamaForCausalLM"]}`, text)
	}
	for _, path := range []string{"/server_info", "/get_server_info"} {
		status, v := r.call(http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, 1.0, get(t, v, "tp_size"))
		for key, want := range map[string]float64{
			"max_total_num_tokens": 4096, "max_running_requests": 32, "chunked_prefill_size": 128, "max_prefill_tokens": 128, "page_size": 16,
			"dp_size": 1, "pp_size": 1, "max_req_input_len": fakeContext - 1,
		} {
			require.Equal(t, want, get(t, v, key), key)
		}
		require.Equal(t, 32.0, get(t, v, "internal_states", 0, "effective_max_running_requests_per_dp"))
		require.Equal(t, 2.0, get(t, v, "internal_states", 0, "num_running_reqs"))
		require.Equal(t, map[string]any{"running": 64.0, "cached": 7.0, "adapters": 0.0, "free": 185.0}, get(t, v, "internal_states", 0, "pages"))
		require.Equal(t, 2.0, get(t, v, "internal_states", 0, "num_loaded_adapters"))
		require.Equal(t, 1.0, get(t, v, "internal_states", 0, "num_adapters_in_use"))
		require.Equal(t, 2.0, get(t, v, "internal_states", 0, "num_resident_adapters"))
		require.Equal(t, 700.0, get(t, v, "internal_states", 0, "adapter_host_bytes"))
	}
}

func TestHealth(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/health", "/health_generate"} {
		r.engine.readyErr = nil
		status, text := r.do(http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, status)
		require.Empty(t, text)
		r.engine.readyErr = errors.New("device lost")
		status, _ = r.do(http.MethodGet, path, "")
		require.Equal(t, http.StatusServiceUnavailable, status)
	}
	r.engine.readyErr = nil
	r.engine.script = func(engine.Request) []engine.Update {
		return says(nil, engine.Finish{Reason: engine.FinishAbort, Message: "broken", Status: 500})
	}
	status, _ := r.do(http.MethodGet, "/health_generate", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	r.engine.submitErr = engine.ErrBusy
	status, _ = r.do(http.MethodGet, "/health_generate", "")
	require.Equal(t, http.StatusOK, status)
}

// TestHealthOfABusyServer has a probe wait in a long queue while others get tokens.
func TestHealthOfABusyServer(t *testing.T) {
	r := newRig(t)
	r.engine.script = func(engine.Request) []engine.Update { return nil }
	r.engine.busy = true
	status, _ := r.do(http.MethodGet, "/health_generate", "")
	require.Equal(t, http.StatusOK, status)
}

func TestFlushCache(t *testing.T) {
	r := newRig(t)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		status, text := r.do(method, "/flush_cache", "")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, text, "Cache flushed.\n")
	}
	r.engine.flushErr = engine.ErrBusy
	start := time.Now()
	status, text := r.do(http.MethodPost, "/flush_cache?timeout=0.1", "")
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "Cache not flushed: 2 requests are running and 3 are waiting.\n", text)
	require.GreaterOrEqual(t, time.Since(start), 100*time.Millisecond)
	status, text = r.do(http.MethodPost, "/flush_cache?timeout=soon", "")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, text, "timeout must be a number of seconds")
}

func TestTokenize(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ path, body, want string }{
		{"/tokenize", `{"prompt":"ab","messages":null}`, `{"tokens":[97,98],"count":2,"max_model_len":200}`},
		{"/v1/tokenize", `{"prompt":["ab",""],"add_special_tokens":false}`, `{"tokens":[[97,98],[]],"count":[2,0],"max_model_len":200}`},
		{"/detokenize", `{"tokens":[97,255,98]}`, `{"text":"ab"}`},
		{"/detokenize", `{"tokens":[97,255],"skip_special_tokens":false}`, `{"text":"a<special>"}`},
		{"/v1/detokenize", `{"tokens":[[97],[98]]}`, `{"text":["a","b"]}`},
	} {
		status, text := r.do(http.MethodPost, c.path, c.body)
		require.Equal(t, http.StatusOK, status, text)
		require.JSONEq(t, c.want, text)
	}
	status, _ := r.do(http.MethodPost, "/detokenize", `{"tokens":[999]}`)
	require.Equal(t, http.StatusBadRequest, status)
}

func TestAPIKey(t *testing.T) {
	r := newRig(t, func(c *Config) { c.APIKey = "sesame" })
	status, _ := r.do(http.MethodGet, "/health", "")
	require.Equal(t, http.StatusOK, status)
	status, text := r.do(http.MethodGet, "/v1/models", "")
	require.Equal(t, http.StatusUnauthorized, status)
	require.JSONEq(t, `{"error":"Unauthorized"}`, text)
	for key, want := range map[string]int{"Bearer sesame": 200, "bearer sesame": 200, "Basic sesame": 401, "Bearer open": 401, "Bearer ": 401, "": 401} {
		req, err := http.NewRequest(http.MethodGet, r.url+"/v1/models", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", key)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, want, res.StatusCode)
	}
}

func TestPathsThatAreNotThere(t *testing.T) {
	r := newRig(t)
	for path, want := range map[string]string{
		"/nowhere":      `{"detail":"Not Found"}`,
		"/nowhere/":     `{"detail":"Not Found"}`,
		"/v1/responses": `"error":{"code":404,"message":"POST /v1/responses is not served here; /v1/chat/completions, /v1/completions and /v1/models are."`,
	} {
		status, text := r.do(http.MethodPost, path, `{}`)
		require.Equal(t, http.StatusNotFound, status)
		require.Contains(t, text, want)
	}
	status, text := r.do(http.MethodPost, "/generate/", `{"text":"ab"}`) // the client follows
	require.Equal(t, http.StatusOK, status, text)
	for _, path := range []string{"/health/", "/ping", "/ready"} {
		status, _ := r.do(http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, status, path)
	}
}

func TestBodiesThatAreEncoded(t *testing.T) {
	r := newRig(t)
	status, text := r.do(http.MethodPost, "/generate", "\xef\xbb\xbf"+`{"text":"ab"}`)
	require.Equal(t, http.StatusOK, status, text)
	request, err := http.NewRequest(http.MethodPost, r.url+"/generate", strings.NewReader("\x1f\x8b"))
	require.NoError(t, err)
	request.Header.Set("Content-Encoding", "gzip")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Contains(t, string(body), "the request body is in Content-Encoding gzip; send it as it is")
}

func TestPanicAfterTheAnswerBegan(t *testing.T) {
	r := newRig(t)
	h := r.server.logged(r.server.recovered(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("half"))
		panic("a bug")
	})))
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	})
	require.Contains(t, r.log.String(), "a bug")
}

func TestGate(t *testing.T) {
	var g Gate
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health", nil))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	g.Open(detail(http.StatusTeapot, "open"))
	w = httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health", nil))
	require.Equal(t, http.StatusTeapot, w.Code)
}

func TestServeAbortsWhatOutlastsItsGrace(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	entered, left := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, l, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
			close(left)
		}), 50*time.Millisecond)
	}()
	go func() {
		if res, err := http.Get("http://" + l.Addr().String()); err == nil {
			res.Body.Close()
		}
	}()
	<-entered
	cancel()
	require.NoError(t, <-done)
	<-left
}

func TestServeLetsRunningRequestsEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	entered, release := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done, status := make(chan error, 1), make(chan int, 1)
	go func() {
		done <- Serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-release
			w.WriteHeader(http.StatusTeapot)
		}), time.Minute)
	}()
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			status <- 0
			return
		}
		res.Body.Close()
		status <- res.StatusCode
	}()
	<-entered
	cancel()
	close(release)
	require.Equal(t, http.StatusTeapot, <-status)
	require.NoError(t, <-done)
}

// TestServeTellsRequestsThatAreCutShort has requests that run longer than the grace.
func TestServeTellsRequestsThatAreCutShort(t *testing.T) {
	r := newRig(t)
	r.engine.script = func(engine.Request) []engine.Update { return nil } // never ends
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, r.server, 50*time.Millisecond) }()
	type told struct {
		status int
		body   string
	}
	answers := map[string]chan told{"false": make(chan told, 1), "true": make(chan told, 1)}
	for stream, answer := range answers {
		go func() {
			res, err := http.Post("http://"+l.Addr().String()+"/generate", "", strings.NewReader(`{"text":"a","stream":`+stream+`}`))
			if err != nil {
				answer <- told{0, err.Error()}
				return
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			answer <- told{res.StatusCode, string(body)}
		}()
	}
	require.Eventually(t, func() bool {
		r.engine.mu.Lock()
		defer r.engine.mu.Unlock()
		return len(r.engine.submitted) == 2
	}, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	one := <-answers["false"]
	require.Equal(t, http.StatusServiceUnavailable, one.status, one.body)
	require.Contains(t, one.body, "the server is shutting down")
	streamed := <-answers["true"]
	require.Equal(t, http.StatusOK, streamed.status)
	require.Contains(t, streamed.body, `"the server is shutting down"`)
	require.Contains(t, streamed.body, "[DONE]")
}

// A browser sends what a page asks with a plain type or none without asking the server first.
func TestPagesMayNotChange(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		method, path string
		header       [2]string
		status       int
	}{
		{http.MethodPost, "/load_lora_adapter", [2]string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{http.MethodPost, "/load_lora_adapter", [2]string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		{http.MethodPost, "/unload_lora_adapter", [2]string{"Origin", "https://page.example"}, http.StatusForbidden},
		{http.MethodPost, "/abort_request", [2]string{"Origin", "https://page.example"}, http.StatusForbidden},
		{http.MethodPost, "/flush_cache", [2]string{"Origin", "null"}, http.StatusForbidden},
		{http.MethodGet, "/flush_cache", [2]string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{http.MethodGet, "/flush_cache", [2]string{"Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		{http.MethodPost, "/flush_cache", [2]string{"Origin", r.url}, http.StatusOK},
		{http.MethodPost, "/flush_cache", [2]string{"User-Agent", "no browser"}, http.StatusOK},
		{http.MethodPost, "/generate", [2]string{"Sec-Fetch-Site", "cross-site"}, http.StatusBadRequest}, // for its body
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, r.url+c.path, strings.NewReader(`{"lora_name":"lora0","lora_path":"x"}`))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "text/plain")
		request.Header.Set(c.header[0], c.header[1])
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, c.status, response.StatusCode, "%s %v: %s", c.path, c.header, text)
		if c.status == http.StatusForbidden {
			require.Contains(t, string(text), c.path+" is not for web pages of other origins")
		}
	}
	require.Len(t, r.engine.Adapters(), 2, "as before")
}

// Pages of any origin may ask for answers, and not for changes.
func TestBrowsersMayAsk(t *testing.T) {
	r := newRig(t, func(c *Config) { c.APIKey = "sesame" })
	for _, c := range []struct {
		method, path string
		status       int
		allowed      bool
	}{
		{http.MethodOptions, "/v1/chat/completions", http.StatusNoContent, true},
		{http.MethodOptions, "/generate", http.StatusNoContent, true},
		{http.MethodGet, "/v1/models", http.StatusOK, true},
		{http.MethodOptions, "/load_lora_adapter", http.StatusMethodNotAllowed, false},
		{http.MethodGet, "/server_info", http.StatusOK, false},
		{http.MethodGet, "/v1/loads", http.StatusOK, false},
		{http.MethodOptions, "/v1/load_lora_adapter", http.StatusMethodNotAllowed, false},
		{http.MethodOptions, "/v1/unload_lora_adapter", http.StatusMethodNotAllowed, false},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, r.url+c.path, nil)
		require.NoError(t, err)
		request.Header.Set("Origin", "https://page.example")
		if c.method == http.MethodOptions { // without the key, as browsers ask
			request.Header.Set("Access-Control-Request-Method", http.MethodPost)
			request.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
		} else {
			request.Header.Set("Authorization", "Bearer sesame")
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, c.status, response.StatusCode, c.path)
		want := ""
		if c.allowed {
			want = "*"
		}
		require.Equal(t, want, response.Header.Get("Access-Control-Allow-Origin"), c.path)
		if c.allowed && c.method == http.MethodOptions {
			require.Contains(t, response.Header.Get("Access-Control-Allow-Headers"), "authorization")
		}
	}
}
