package server

// openSampling are the sampling_params of OpenAI's endpoints, under the names that they have there.
var openSampling = []struct{ key, param string }{
	{"max_tokens", "max_new_tokens"},
	{"max_completion_tokens", "max_new_tokens"}, // wins, in chats
	{"min_tokens", "min_new_tokens"},
	{"temperature", "temperature"},
	{"top_p", "top_p"},
	{"top_k", "top_k"},
	{"min_p", "min_p"},
	{"seed", "sampling_seed"},
	{"n", "n"},
	{"stop", "stop"},
	{"stop_token_ids", "stop_token_ids"},
	{"stop_regex", "stop_regex"},
	{"ignore_eos", "ignore_eos"},
	{"skip_special_tokens", "skip_special_tokens"},
	{"no_stop_trim", "no_stop_trim"},
	{"include_stop_str_in_output", "no_stop_trim"},
	{"frequency_penalty", "frequency_penalty"},
	{"presence_penalty", "presence_penalty"},
	{"repetition_penalty", "repetition_penalty"},
	{"logit_bias", "logit_bias"},
	{"json_schema", "json_schema"},
	{"regex", "regex"},
	{"ebnf", "ebnf"},
	{"structural_tag", "structural_tag"},
}

// takeOpenSampling reads the sampling of all prompts; s has the endpoint's defaults, and answers may be nothing or not.
func (g *generation) takeOpenSampling(s sampling, o object, nothing bool) error {
	for _, p := range openSampling {
		raw, ok := o[p.key]
		if !ok || kind(raw) == "null" {
			continue
		}
		if err := samplingKeys[p.param](&s, raw); err != nil {
			return invalid("%s must be %v, got %s.", p.key, err, short(raw))
		}
		if p.param == "max_new_tokens" {
			s.toContextEnd = false
			if s.maxNewTokens < 0 || s.maxNewTokens == 0 && !nothing {
				return invalid("%s must be positive", p.key)
			}
		}
	}
	if err := s.finish(); err != nil {
		return err
	}
	return g.setSampling(s)
}
