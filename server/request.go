package server

import (
	"fmt"

	"lorikeet/server/engine"
)

// maxSequences bounds prompts times n in one request, so that a small body cannot ask for unbounded memory.
const maxSequences = 16384

// generation is what a body asks for, after its types and shapes were checked.
type generation struct {
	prompts         []prompt
	array           bool // the answer is a list
	n               int  // answers to each prompt
	sampledAlike    bool // all prompts
	ids             []string
	stream          bool
	textInLogprobs  bool
	returnPromptIDs bool
	priority        *int // nil: none was given
}

// prompt is one prompt and what was asked about it.
type prompt struct {
	text     string
	special  bool    // the text names its special tokens, or has none
	ids      []int64 // wins over text
	byID     bool
	sampling sampling
	adapter  *string // nil is the base model
	// namespace keeps the prompt's cached prefix from requests that name another.
	namespace string
	logprobs  engine.Logprobs
}

// refusedKeys are top-level keys that would change the answer and are not supported.
var refusedKeys = []string{
	"input_embeds", "image_data", "video_data", "audio_data", "session_params", "custom_logit_processor",
	"return_hidden_states", "return_entropy", "return_sampling_mask", "return_routed_experts", "max_thinking_tokens",
	"bootstrap_host", "bootstrap_room",
}

// body holds the fields of a /generate request as they came.
type body struct {
	text, rid      perPrompt[string]
	inputIDs       perPrompt[[]int64]
	sampling       perPrompt[object]
	adapter        perPrompt[*string]
	extraKey       perPrompt[string]
	returnLogprob  perPrompt[bool]
	logprobStart   perPrompt[int]
	topLogprobs    perPrompt[int]
	tokenLogprobs  perPrompt[[]int64]
	stream         bool
	textInLogprobs bool
	promptIDs      bool
	priority       *int
}

// keep returns what read a field and remembers the first error.
func keep[T any](first *error) func(T, error) T {
	return func(v T, err error) T {
		if *first == nil {
			*first = err
		}
		return v
	}
}

func parseBody(o object) (b body, err error) {
	// stream is read first: it decides how a later error is told.
	b.stream = keep[bool](&err)(field(o, "stream", readBool))
	b.text = keep[perPrompt[string]](&err)(oneOrMany(o, "text", readString))
	b.rid = keep[perPrompt[string]](&err)(oneOrMany(o, "rid", readString))
	b.inputIDs = keep[perPrompt[[]int64]](&err)(oneOrMany(o, "input_ids", readInts))
	b.sampling = keep[perPrompt[object]](&err)(oneOrMany(o, "sampling_params", readObjectValue))
	b.extraKey = keep[perPrompt[string]](&err)(oneOrMany(o, "extra_key", readString))
	b.returnLogprob = keep[perPrompt[bool]](&err)(oneOrMany(o, "return_logprob", readBool))
	b.logprobStart = keep[perPrompt[int]](&err)(oneOrMany(o, "logprob_start_len", readInt))
	b.topLogprobs = keep[perPrompt[int]](&err)(oneOrMany(o, "top_logprobs_num", readInt))
	b.tokenLogprobs = keep[perPrompt[[]int64]](&err)(oneOrMany(o, "token_ids_logprob", readInts))
	b.textInLogprobs = keep[bool](&err)(field(o, "return_text_in_logprobs", readBool))
	b.promptIDs = keep[bool](&err)(field(o, "return_prompt_token_ids", readBool))
	b.priority = keep[*int](&err)(field(o, "priority", nullable(readInt)))
	if err != nil {
		return b, err
	}
	b.adapter, err = parseAdapter(o)
	return b, err
}

// parseAdapter reads lora_path. As in SGLang not only null but also "" and an empty list are the base model.
func parseAdapter(o object) (perPrompt[*string], error) {
	raw, ok := o["lora_path"]
	if !ok || kind(raw) == "null" {
		return perPrompt[*string]{}, nil
	}
	if k := kind(raw); k != "a string" && k != "a list" {
		return perPrompt[*string]{}, invalid("lora_path should be a list or a string.")
	}
	if empty(raw) {
		return perPrompt[*string]{}, nil
	}
	return oneOrMany(o, "lora_path", nullable(readString))
}

// parseGenerate turns a body into prompts. On an error the result still says whether the client asked for a stream.
func parseGenerate(o object) (*generation, error) {
	b, err := parseBody(o)
	g := &generation{
		stream: b.stream, textInLogprobs: b.textInLogprobs, returnPromptIDs: b.promptIDs, priority: b.priority,
	}
	if err != nil {
		return g, err
	}
	if err := o.refuse(refusedKeys...); err != nil {
		return g, err
	}
	size, err := g.takePrompts(&b)
	if err != nil {
		return g, err
	}
	if err := g.takeSampling(&b, size); err != nil {
		return g, err
	}
	if err := g.takeLogprobs(&b, size); err != nil {
		return g, err
	}
	if err := g.takeAdapters(&b, size); err != nil {
		return g, err
	}
	if err := g.takeNamespaces(size, perPrompt[string]{}, b.extraKey); err != nil {
		return g, err
	}
	return g, g.takeIDs(&b, size)
}

// takePrompts reads the prompts and returns how many there are.
func (g *generation) takePrompts(b *body) (int, error) {
	if !b.text.set && !b.inputIDs.set {
		return 0, invalid("Either text, input_ids or input_embeds should be provided.")
	}
	if err := checkSize(max(len(b.text.values), len(b.inputIDs.values)), 1); err != nil {
		return 0, err // before there is a prompt for each
	}
	// [] could be no prompt or a prompt of no tokens; either way there is nothing to continue.
	if b.inputIDs.set {
		if len(b.inputIDs.values) == 0 {
			return 0, invalid("input_ids cannot be empty.")
		}
		for _, ids := range b.inputIDs.values {
			if len(ids) == 0 {
				return 0, invalid("input_ids cannot be empty.")
			}
		}
		if b.text.set && (b.text.list != b.inputIDs.list || len(b.text.values) != len(b.inputIDs.values)) {
			return 0, invalid("text and input_ids must describe the same batch.")
		}
		g.array = b.inputIDs.list
		for _, ids := range b.inputIDs.values {
			g.prompts = append(g.prompts, prompt{ids: ids, byID: true})
		}
		return len(g.prompts), nil
	}
	if len(b.text.values) == 0 || !b.text.list && b.text.values[0] == "" {
		return 0, errNoTokenizer
	}
	g.array = b.text.list
	for _, text := range b.text.values {
		g.prompts = append(g.prompts, prompt{text: text})
	}
	return len(g.prompts), nil
}

func (g *generation) takeSampling(b *body, size int) error {
	if !b.sampling.fits(size) {
		return invalid("sampling_params list length (%d) must match batch size (%d)", len(b.sampling.values), size)
	}
	g.n, g.sampledAlike = 1, !b.sampling.list
	for i := range g.prompts {
		if i > 0 && g.sampledAlike {
			g.prompts[i].sampling = g.prompts[0].sampling
			continue
		}
		s, err := parseSampling(b.sampling.at(i, nil))
		if err != nil {
			return err
		}
		if i > 0 && s.n != g.n {
			return invalid("The parallel_sample_num should be the same for all samples in sample params.")
		}
		g.n = s.n
		g.prompts[i].sampling = s
	}
	if err := checkSize(len(g.prompts), g.n); err != nil {
		return err
	}
	g.array = g.array || g.n > 1
	return nil
}

// setSampling gives all prompts the same sampling.
func (g *generation) setSampling(s sampling) error {
	g.n, g.sampledAlike = s.n, true
	for i := range g.prompts {
		g.prompts[i].sampling = s
	}
	return checkSize(len(g.prompts), g.n)
}

// checkSize refuses more than maxSequences.
func checkSize(prompts, n int) error {
	if n > maxSequences/max(1, prompts) {
		return invalid("The request asks for %d prompts times n=%d answers; at most %d answers fit in one request.", prompts, n, maxSequences)
	}
	return nil
}

func (g *generation) takeLogprobs(b *body, size int) error {
	for _, f := range []struct {
		key  string
		list bool
		fits bool
		n    int
	}{
		{"return_logprob", b.returnLogprob.list, b.returnLogprob.fits(size), len(b.returnLogprob.values)},
		{"logprob_start_len", b.logprobStart.list, b.logprobStart.fits(size), len(b.logprobStart.values)},
		{"top_logprobs_num", b.topLogprobs.list, b.topLogprobs.fits(size), len(b.topLogprobs.values)},
		{"token_ids_logprob", b.tokenLogprobs.list, b.tokenLogprobs.fits(size), len(b.tokenLogprobs.values)},
	} {
		if f.list && f.key == "token_ids_logprob" && !g.array {
			return invalid("token_ids_logprob must be a flat list of integers.")
		}
		if f.list && g.n > 1 {
			return invalid("Cannot use list %s with parallel_sample_num > 1", f.key)
		}
		if !f.fits {
			return invalid("%s list length (%d) must match batch size (%d)", f.key, f.n, size)
		}
	}
	for i := range g.prompts {
		l := engine.Logprobs{Return: b.returnLogprob.at(i, false), Start: -1}
		if l.Return {
			l.Start = b.logprobStart.at(i, -1)
			l.Top = b.topLogprobs.at(i, 0)
			for _, id := range b.tokenLogprobs.at(i, nil) {
				if id != int64(int32(id)) {
					return invalid("token_ids_logprob contains out-of-vocabulary token id %d.", id)
				}
				l.IDs = append(l.IDs, int32(id))
			}
		}
		if l.Start < -1 {
			return invalid("logprob_start_len must be -1 (output tokens only) or at least 0, got %d.", l.Start)
		}
		if l.Top < 0 {
			return invalid("top_logprobs_num must be at least 0, got %d.", l.Top)
		}
		g.prompts[i].logprobs = l
	}
	return nil
}

// takeNamespaces makes one name of each prompt's salt and extra key, at most maxID bytes, so that no other two make the same.
func (g *generation) takeNamespaces(size int, salt, extra perPrompt[string]) error {
	switch {
	case !salt.fits(size):
		return invalid("The length of cache_salt should be equal to the batch size.")
	case !extra.fits(size):
		return invalid("The length of extra_key should be equal to the batch size.")
	}
	for i := range g.prompts {
		salt, extra := salt.at(i, ""), extra.at(i, "")
		if n := len(salt) + len(extra); n > maxID {
			return invalid("extra_key and cache_salt must be at most %d bytes long, got %d.", maxID, n)
		} else if n > 0 {
			g.prompts[i].namespace = fmt.Sprintf("%d %s%s", len(salt), salt, extra)
		}
	}
	return nil
}

func (g *generation) takeAdapters(b *body, size int) error {
	if !b.adapter.fits(size) {
		return invalid("lora_path list length (%d) must match batch size (%d)", len(b.adapter.values), size)
	}
	for i := range g.prompts {
		g.prompts[i].adapter = b.adapter.at(i, nil)
	}
	return nil
}
