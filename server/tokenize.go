package server

import "net/http"

// tokenize answers POST /tokenize: {"prompt": text or list}, or {"messages": a conversation}, becomes ids and their number.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	o, err := readObject(r)
	var prompts perPrompt[string]
	var special bool
	if err == nil {
		prompts = keep[perPrompt[string]](&err)(oneOrMany(o, "prompt", readString))
		special = keep[bool](&err)(fieldOr(o, "add_special_tokens", readBool, true))
	}
	if err == nil && s.tokenizer == nil {
		err = errNoTokenizer
	}
	raw, chat := o["messages"]
	chat = chat && kind(raw) != "null"
	if err == nil && chat == prompts.set {
		err = malformed("one of prompt and messages is required")
	}
	if err == nil && chat {
		special = false // they are in the template
		err = o.refuse(refusedInChats...)
		prompts = perPrompt[string]{values: []string{keep[string](&err)(s.conversation(o))}}
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ids, counts := make([][]int32, len(prompts.values)), make([]int, len(prompts.values))
	for i, text := range prompts.values {
		ids[i] = append([]int32{}, s.tokenizer.Encode(text, special)...)
		counts[i] = len(ids[i])
	}
	answer := map[string]any{"tokens": ids, "count": counts, "max_model_len": s.config.ContextLength}
	if !prompts.list {
		answer["tokens"], answer["count"] = ids[0], counts[0]
	}
	writeJSON(w, http.StatusOK, answer)
}

// detokenize answers POST /detokenize: {"tokens": ids or list of ids} becomes text.
func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) {
	o, err := readObject(r)
	var tokens perPrompt[[]int64]
	var skip bool
	if err == nil {
		tokens = keep[perPrompt[[]int64]](&err)(oneOrMany(o, "tokens", readInts))
		skip = keep[bool](&err)(fieldOr(o, "skip_special_tokens", readBool, true))
	}
	if err == nil && s.tokenizer == nil {
		err = errNoTokenizer
	}
	if err == nil && !tokens.set {
		err = malformed("tokens is required")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	texts := make([]string, len(tokens.values))
	for i, wide := range tokens.values {
		ids := keep[[]int32](&err)(s.narrow(wide))
		texts[i] = s.tokenizer.Decode(ids, skip)
	}
	switch {
	case err != nil:
		s.fail(w, r, err)
	case tokens.list:
		writeJSON(w, http.StatusOK, map[string]any{"text": texts})
	default:
		writeJSON(w, http.StatusOK, map[string]any{"text": texts[0]})
	}
}
