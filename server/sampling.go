package server

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"lorikeet/server/engine"
)

// sampling is sampling_params as the client gave them.
type sampling struct {
	maxNewTokens    int
	maxGiven        bool // the client named a number; the default may be cut to what fits
	toContextEnd    bool // max_new_tokens: null
	minNewTokens    int
	temperature     float64
	topP, minP      float64
	topK            int
	seed            *int64
	stop            []string
	stopTokens      []int32
	ignoreEOS       bool
	skipSpecial     bool
	noStopTrim      bool
	n               int
	frequencyPen    float64
	presencePen     float64
	repetitionPen   float64
	grammar         []string // the grammar keys that are set
	bias            map[int32]float32
	stopExpressions bool
}

func defaultSampling() sampling {
	return sampling{maxNewTokens: 128, temperature: 1, topP: 1, topK: -1, skipSpecial: true, n: 1, repetitionPen: 1}
}

// samplingKeys reads each key of sampling_params that SGLang knows. Null means the default and does not get here,
// except for max_new_tokens.
var samplingKeys = map[string]func(*sampling, json.RawMessage) error{
	"max_new_tokens": func(s *sampling, raw json.RawMessage) (err error) {
		s.maxGiven = true
		s.maxNewTokens, err = readInt(raw)
		return err
	},
	"min_new_tokens": into(readInt, func(s *sampling) *int { return &s.minNewTokens }),
	"temperature":    into(readFloat, func(s *sampling) *float64 { return &s.temperature }),
	"top_p":          into(readFloat, func(s *sampling) *float64 { return &s.topP }),
	"top_k":          into(readInt, func(s *sampling) *int { return &s.topK }),
	"min_p":          into(readFloat, func(s *sampling) *float64 { return &s.minP }),
	"sampling_seed":  into(nullable(readSeed), func(s *sampling) **int64 { return &s.seed }),
	"stop": func(s *sampling, raw json.RawMessage) error {
		one, err := readString(raw)
		if err == nil {
			s.stop = []string{one}
			return nil
		}
		if s.stop, err = readList(readString)(raw); err != nil {
			return wanted("a string or a list of strings")
		}
		return nil
	},
	"stop_token_ids": func(s *sampling, raw json.RawMessage) error {
		ids, err := readList(nullable(readInt))(raw)
		if err != nil {
			return err
		}
		for _, id := range ids {
			// What no vocabulary can hold never stops anything.
			if id != nil && *id >= 0 && *id <= math.MaxInt32 {
				s.stopTokens = append(s.stopTokens, int32(*id))
			}
		}
		return nil
	},
	"ignore_eos":          into(readBool, func(s *sampling) *bool { return &s.ignoreEOS }),
	"skip_special_tokens": into(readBool, func(s *sampling) *bool { return &s.skipSpecial }),
	"no_stop_trim":        into(readBool, func(s *sampling) *bool { return &s.noStopTrim }),
	"n":                   into(readInt, func(s *sampling) *int { return &s.n }),
	"frequency_penalty":   into(readFloat, func(s *sampling) *float64 { return &s.frequencyPen }),
	"presence_penalty":    into(readFloat, func(s *sampling) *float64 { return &s.presencePen }),
	"repetition_penalty":  into(readFloat, func(s *sampling) *float64 { return &s.repetitionPen }),
	"json_schema":         grammarKey("json_schema"),
	"regex":               grammarKey("regex"),
	"ebnf":                grammarKey("ebnf"),
	"structural_tag":      grammarKey("structural_tag"),
	"logit_bias":          readBias,
	"stop_regex": func(s *sampling, raw json.RawMessage) error {
		s.stopExpressions = !empty(raw)
		return nil
	},
	// These change no answer here: the fast tokenizers ignore the first, events may be finer than asked, and the
	// last only reaches custom_logit_processor, which is refused.
	"spaces_between_special_tokens": ignored,
	"stream_interval":               ignored,
	"custom_params":                 ignored,
}

func ignored(*sampling, json.RawMessage) error { return nil }

// readSeed reads an integer of 64 bits, more than readInt's, which go through a float64.
func readSeed(raw json.RawMessage) (int64, error) {
	if seed, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return seed, nil
	}
	seed, err := readInt(raw)
	return int64(seed), err
}

// into stores what read returns.
func into[T any](read reader[T], at func(*sampling) *T) func(*sampling, json.RawMessage) error {
	return func(s *sampling, raw json.RawMessage) (err error) {
		*at(s), err = read(raw)
		return err
	}
}

func grammarKey(key string) func(*sampling, json.RawMessage) error {
	return func(s *sampling, raw json.RawMessage) error {
		if !empty(raw) {
			s.grammar = append(s.grammar, key)
		}
		return nil
	}
}

// empty says whether a value is what clients send for "not set".
func empty(raw json.RawMessage) bool {
	text := bytes.TrimSpace(raw)
	switch string(text) {
	case "null", "false", "0", `""`:
		return true
	}
	list := bytes.HasPrefix(text, []byte("[")) || bytes.HasPrefix(text, []byte("{"))
	return list && len(bytes.TrimSpace(text[1:len(text)-1])) == 0
}

// parseSampling reads one sampling_params object and checks it.
func parseSampling(o object) (sampling, error) {
	s := defaultSampling()
	for _, key := range slices.Sorted(maps.Keys(o)) {
		raw := o[key]
		read, known := samplingKeys[key]
		if !known {
			return s, invalid("sampling_params has the unknown key %q; known keys are %s.", key, strings.Join(slices.Sorted(maps.Keys(samplingKeys)), ", "))
		}
		if kind(raw) == "null" {
			s.toContextEnd = s.toContextEnd || key == "max_new_tokens"
			continue
		}
		if err := read(&s, raw); err != nil {
			return s, invalid("%s must be %v, got %s.", key, err, short(raw))
		}
	}
	return s, s.finish()
}

// readBias reads logit_bias: what is added to the logits of tokens, by their ids as text.
func readBias(s *sampling, raw json.RawMessage) error {
	const form = wanted("an object of token ids, each once, and numbers")
	o, err := readObjectValue(raw)
	if err != nil {
		return form
	}
	for key, value := range o {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return form
		}
		add, err := readFloat(value)
		if err != nil || math.IsInf(float64(float32(add)), 0) {
			return form
		}
		if s.bias == nil {
			s.bias = map[int32]float32{}
		}
		if _, twice := s.bias[int32(id)]; twice { // "5" and "05"
			return form
		}
		s.bias[int32(id)] = float32(add)
	}
	return nil
}

// finish checks what was read.
func (s *sampling) finish() error {
	// "" is sent for no stop string; it would match everywhere.
	s.stop = slices.DeleteFunc(s.stop, func(stop string) bool { return stop == "" })
	return s.check()
}

// check refuses values out of range, then what would change the answer and is not supported.
func (s *sampling) check() error {
	switch {
	case s.temperature < 0 || s.temperature > math.MaxFloat32:
		return invalid("temperature must be a non-negative finite number, got %v.", s.temperature)
	case s.topP <= 0 || s.topP > 1:
		return invalid("top_p must be in (0, 1], got %v.", s.topP)
	case s.minP < 0 || s.minP > 1:
		return invalid("min_p must be in [0, 1], got %v.", s.minP)
	case s.topK < 1 && s.topK != -1:
		return invalid("top_k must be -1 (disable) or at least 1, got %d.", s.topK)
	case s.frequencyPen < -2 || s.frequencyPen > 2:
		return invalid("frequency_penalty must be in [-2, 2], got %v.", s.frequencyPen)
	case s.presencePen < -2 || s.presencePen > 2:
		return invalid("presence_penalty must be in [-2, 2], got %v.", s.presencePen)
	case s.repetitionPen <= 0 || s.repetitionPen > 2:
		return invalid("repetition_penalty must be in (0, 2] (1.0 = no penalty), got %v.", s.repetitionPen)
	case s.maxNewTokens < 0:
		return invalid("max_new_tokens must be at least 0, got %d.", s.maxNewTokens)
	case s.minNewTokens < 0 || s.minNewTokens > s.maxNewTokens && !s.toContextEnd:
		return invalid("min_new_tokens must be in [0, max_new_tokens(%d)], got %d.", s.maxNewTokens, s.minNewTokens)
	case s.n < 1:
		return invalid("n must be at least 1, got %d.", s.n)
	case len(s.grammar) > 1:
		return invalid("Only one of json_schema, regex, ebnf, or structural_tag can be set.")
	}
	switch {
	case s.stopExpressions:
		return unsupported("stop_regex")
	case len(s.grammar) == 1:
		return unsupported(s.grammar[0])
	}
	return nil
}

// refuse says which of the keys is set, all of which would change the answer.
func (o object) refuse(keys ...string) error {
	for _, key := range keys {
		if raw, ok := o[key]; ok && !empty(raw) {
			return unsupported(key)
		}
	}
	return nil
}

func unsupported(key string) error {
	return invalid("%s is not supported by this server; it would change the answer, so the request is refused.", key)
}

// leastPenalty is as good as any smaller repetition penalty: what it divides leaves all other logits far behind, and stays a number.
const leastPenalty = 1e-20

// greedyBelow is the temperature under which SGLang takes the most likely token.
const greedyBelow = 1e-6

// forEngine is the part of s that the engine acts on. The server itself handles stop strings and text.
func (s *sampling) forEngine(maxNewTokens int, seed uint64, stopTokens []int32) engine.Sampling {
	e := engine.Sampling{
		MaxNewTokens: maxNewTokens,
		Temperature:  float32(s.temperature), TopP: float32(s.topP), MinP: float32(s.minP),
		Seed: seed, StopTokens: stopTokens, IgnoreEOS: s.ignoreEOS,
		MinNewTokens: s.minNewTokens, Bias: s.bias,
		FrequencyPenalty: float32(s.frequencyPen), PresencePenalty: float32(s.presencePen),
	}
	if s.repetitionPen != 1 {
		e.RepetitionPenalty = max(float32(s.repetitionPen), leastPenalty)
	}
	if s.temperature < greedyBelow {
		e.Temperature = 0
	}
	// Every vocabulary is smaller than this, and the device counts in 32 bits.
	if s.topK > 0 && s.topK < 1<<30 {
		e.TopK = s.topK
	}
	// A top_p that float32 rounds to 0 still keeps the most likely token.
	e.TopP = max(e.TopP, math.SmallestNonzeroFloat32)
	return e
}
