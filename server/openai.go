package server

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// openRequest is a request to one of OpenAI's endpoints: a generation, and how its answer is written.
type openRequest struct {
	*generation
	model string
	form  openForm
	usage usageWish
}

// openForm is what the answers of an endpoint look like.
type openForm interface {
	// objects are the names of a whole answer and of an event.
	objects() (whole, event string)
	// choice is a whole answer.
	choice(a *answer) any
	// events are what is new of an answer; sent is what the client has of it.
	events(a *answer, sent *progress) []any
}

// usageWish is stream_options.
type usageWish struct{ last, always bool }

// openResponse is an answer, or an event of a stream.
type openResponse struct {
	ID       string            `json:"id"`
	Object   string            `json:"object"`
	Created  int64             `json:"created"` // seconds since 1970
	Model    string            `json:"model"`
	Choices  []any             `json:"choices"`
	Usage    *usage            `json:"usage"`
	Metadata map[string]string `json:"metadata,omitempty"` // not in events
}

// usage counts a prompt once, however many answers it has.
type usage struct {
	Prompt     int           `json:"prompt_tokens"`
	Total      int           `json:"total_tokens"`
	Completion int           `json:"completion_tokens"`
	Details    promptDetails `json:"prompt_tokens_details"`
	Reasoning  int           `json:"reasoning_tokens"`
}

type promptDetails struct {
	Cached int `json:"cached_tokens"`
}

// openEndpoint answers requests that parse reads.
func (s *Server) openEndpoint(parse func(object) (*openRequest, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		received := time.Now()
		q, err := readOpen(r, parse)
		if err != nil {
			s.failOpen(w, r, err)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		run, err := s.begin(ctx, q.generation, received)
		if err != nil {
			s.failOpen(w, r, err)
			return
		}
		defer s.flights.land(run.ids)
		defer run.note(r.Context())
		if q.stream {
			s.streamOpen(ctx, w, r, q, run)
			return
		}
		if err := run.follow(ctx, nil); err != nil {
			s.failOpen(w, r, err)
			return
		}
		whole, _ := q.form.objects()
		answer := q.response(run, whole, run.answers...)
		for _, a := range run.answers {
			answer.Choices = append(answer.Choices, q.form.choice(a))
		}
		answer.Metadata = map[string]string{"weight_version": weightVersion}
		writeJSON(w, http.StatusOK, answer)
	}
}

func readOpen(r *http.Request, parse func(object) (*openRequest, error)) (*openRequest, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, malformed("Unsupported Media Type: Only 'application/json' is allowed")
	}
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	return parse(o)
}

// response is an answer without choices; counted are those whose tokens its usage has, none for no usage.
func (q *openRequest) response(run *running, object string, counted ...*answer) *openResponse {
	r := &openResponse{
		ID: run.ids[0], Object: object, Created: run.answers[0].received.Unix(), Model: q.model, Choices: []any{},
	}
	if len(counted) == 0 {
		return r
	}
	u := &usage{}
	for i, a := range counted {
		if i%q.n == 0 {
			u.Prompt += len(a.prompt)
			u.Details.Cached += a.cached
		}
		u.Completion += len(a.ids)
	}
	u.Total = u.Prompt + u.Completion
	r.Usage = u
	return r
}

// takeOpen reads what both endpoints have of a body beside prompts and sampling.
func (s *Server) takeOpen(q *openRequest, o object, size int) error {
	var err error
	q.model = keep[string](&err)(fieldOr(o, "model", readString, "default"))
	q.stream = keep[bool](&err)(field(o, "stream", readBool))
	q.priority = keep[*int](&err)(field(o, "priority", nullable(readInt)))
	rid := keep[perPrompt[string]](&err)(oneOrMany(o, "rid", readString))
	salt := keep[perPrompt[string]](&err)(oneOrMany(o, "cache_salt", readString))
	extra := keep[perPrompt[string]](&err)(oneOrMany(o, "extra_key", readString))
	options := keep[object](&err)(field(o, "stream_options", readObjectValue))
	if err != nil {
		return err
	}
	q.usage.last = keep[bool](&err)(field(options, "include_usage", readBool))
	q.usage.always = keep[bool](&err)(field(options, "continuous_usage_stats", readBool))
	if err != nil {
		return err
	}
	b := &body{rid: rid}
	if b.adapter, err = s.adapterOf(o); err != nil {
		return err
	}
	if err := q.takeAdapters(b, size); err != nil {
		return err
	}
	if err := q.takeNamespaces(size, salt, extra); err != nil {
		return err
	}
	return q.takeIDs(b, size)
}

// adapterOf finds the adapters that a request names: what is behind a colon in the model, else lora_path, else an adapter's name as the
// model, as /v1/models lists it or listed it while the adapter was loaded. Like SGLang it takes any other model, and none, for the base model.
func (s *Server) adapterOf(o object) (perPrompt[*string], error) {
	path, err := parseAdapter(o)
	model := keep[string](&err)(field(o, "model", readString))
	if err != nil {
		return path, err
	}
	all := func(name string) perPrompt[*string] { return perPrompt[*string]{set: true, values: []*string{&name}} }
	base, known := model == s.config.ServedName, s.engine.KnowsAdapter(model)
	_, adapter, _ := strings.Cut(model, ":")
	switch adapter = strings.TrimSpace(adapter); {
	case base:
	case known && !path.set:
		return all(model), nil
	case !known && adapter != "":
		return all(adapter), nil
	}
	return path, nil
}

// failOpen answers with an error in the form that both endpoints have.
func (s *Server) failOpen(w http.ResponseWriter, r *http.Request, err error) {
	status, shape := failing(w, r, err)
	message := err.Error()
	if shape == internalShape {
		message = "Internal Server Error"
	}
	writeJSON(w, status, openError(message, status))
}

// openError is an error as SGLang has it and, below "error", as OpenAI does: clients for JavaScript read only that.
func openError(message string, status int) map[string]any {
	kind := strings.TrimSuffix(strings.ReplaceAll(http.StatusText(status), " ", ""), "Error") + "Error"
	body := errorObject(message, kind, status)
	body["error"] = map[string]any{"message": message, "type": kind, "param": nil, "code": status}
	return body
}

// refusedOpen are keys of other servers of the same endpoints that would change the answer.
var refusedOpen = []string{
	"guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "allowed_token_ids", "bad_words", "use_beam_search",
	"truncate_prompt_tokens", "prompt_embeds", "logits_processors", "return_token_ids", "return_tokens_as_token_ids",
	"return_prompt_token_ids", "logprob_token_ids", "repetition_detection", "thinking_token_budget", "watermark",
}

// refuseOpen refuses what neither endpoint can do, and further keys.
func (o object) refuseOpen(further ...string) error {
	for _, keys := range [][]string{further, refusedKeys, refusedOpen} {
		if err := o.refuse(keys...); err != nil {
			return err
		}
	}
	if raw := o["prompt_logprobs"]; len(raw) > 0 && kind(raw) != "null" { // 0 asks for some, too
		return unsupported("prompt_logprobs")
	}
	var err error
	modalities := keep[[]string](&err)(field(o, "modalities", readList(readString)))
	format := keep[object](&err)(field(o, "response_format", readObjectValue))
	form := keep[string](&err)(field(format, "type", readString))
	switch {
	case err != nil:
		return err
	case len(format) > 0 && form == "":
		return invalid("response_format must have a type")
	case form != "" && form != "text":
		return unsupported(fmt.Sprintf("response_format of type %q", form))
	case len(modalities) > 0 && !slices.Equal(modalities, []string{"text"}):
		return unsupported("modalities other than text")
	}
	return nil
}
