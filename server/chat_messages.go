package server

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// readMessage checks a message and gives it what templates want: a text as its content, and objects as the arguments of calls. All else
// of it stays as it is, the order of its keys included, in which templates may print it.
func readMessage(raw json.RawMessage) (json.RawMessage, error) {
	m, err := readObjectValue(raw)
	if err != nil {
		return nil, invalid("it must be %v, got %s", err, kind(raw))
	}
	role, err := field(m, "role", readString)
	if err != nil {
		return nil, err
	}
	if lower := strings.ToLower(role); lower != role {
		role, raw = lower, withValue(raw, "role", json.RawMessage(strconv.Quote(lower)))
	}
	switch role {
	case "system", "developer", "user", "assistant", "tool":
	default:
		return nil, invalid("role must be system, developer, user, assistant or tool, got %q", role)
	}
	if said := kind(m["content"]); role == "user" && (said == "nothing" || said == "null") {
		return nil, invalid("content is required of a user")
	}
	content, err := textOf(m["content"])
	if err != nil {
		return nil, err
	}
	raw = withValue(raw, "content", content)
	if calls := m["tool_calls"]; len(calls) > 0 && !empty(calls) {
		if calls, err = readCalls(calls); err != nil {
			return nil, err
		}
		raw = withValue(raw, "tool_calls", calls)
	}
	return raw, nil
}

// begunAnswer is the text of a last message that the answer goes on with, as readMessage leaves it.
func begunAnswer(raw json.RawMessage) (string, error) {
	m, err := readObjectValue(raw)
	role := keep[string](&err)(field(m, "role", readString))
	text := keep[string](&err)(field(m, "content", readString))
	if err != nil || role != "assistant" || !empty(m["tool_calls"]) && m["tool_calls"] != nil {
		return "", invalid("continue_final_message needs a last message of the assistant without tool_calls")
	}
	return text, nil
}

// textOf is a content as a text: of parts, their texts are joined as SGLang does.
func textOf(content json.RawMessage) (json.RawMessage, error) {
	switch kind(content) {
	case "a string":
		return content, nil
	case "nothing", "null":
		return json.RawMessage(`""`), nil
	case "a list":
	default:
		return nil, invalid("content must be a string or a list of parts, got %s", kind(content))
	}
	parts, err := readList(readObjectValue)(content)
	if err != nil {
		return nil, invalid("content must be %v", err)
	}
	texts := make([]string, len(parts))
	for i, part := range parts {
		if kind, _ := field(part, "type", readString); kind != "text" {
			return nil, invalid("content[%d] is of type %q; this server takes text only", i, kind)
		}
		if texts[i], err = readString(part["text"]); err != nil {
			return nil, invalid("content[%d]: text must be %v, got %s", i, err, kind(part["text"]))
		}
	}
	return json.Marshal(strings.Join(texts, " "))
}

// readCalls turns the arguments of calls, which clients send as JSON in a string, into objects.
func readCalls(raw json.RawMessage) (json.RawMessage, error) {
	calls, err := readList(readRaw)(raw)
	if err != nil {
		return nil, invalid("tool_calls must be %v", err)
	}
	for i, call := range calls {
		c, err := readObjectValue(call)
		if err != nil {
			return nil, invalid("tool_calls[%d] must be %v", i, err)
		}
		function, err := readObjectValue(c["function"])
		if err != nil {
			return nil, invalid("tool_calls[%d]: function must be %v", i, err)
		}
		text, err := readString(function["arguments"])
		if arguments := json.RawMessage(text); err == nil && kind(arguments) == "an object" && json.Valid(arguments) {
			calls[i] = withValue(call, "function", withValue(c["function"], "arguments", arguments))
		}
	}
	return json.Marshal(calls)
}

// withTools adds the request's tools to the variables of the template. As with SGLang without a parser of tool calls, what the
// model answers with them is text.
func withTools(o, variables object) (object, error) {
	tools, choice := o["tools"], o["tool_choice"]
	none := len(tools) == 0 || empty(tools)
	switch name, err := readString(choice); {
	case len(choice) == 0 || kind(choice) == "null" || name == "auto":
	case name == "none":
		return variables, nil
	case none:
		return nil, invalid("tool_choice needs tools")
	case err == nil:
		return nil, unsupported("tool_choice \"" + name + "\"")
	default:
		return nil, unsupported("tool_choice of a function")
	}
	if none {
		return variables, nil
	}
	list, err := readList(readObjectValue)(tools)
	if err != nil {
		return nil, malformed("tools must be %v", err)
	}
	for i, tool := range list {
		function, err := field(tool, "function", readObjectValue)
		if err != nil || function == nil {
			return nil, invalid("tools[%d]: function must be an object", i)
		}
		if name, err := field(function, "name", readString); err != nil || name == "" {
			return nil, invalid("tools[%d]: function needs a name", i)
		}
	}
	if variables["tools"] != nil {
		return variables, nil
	}
	return variables.with("tools", tools), nil
}

// with is the object with one more key.
func (o object) with(key string, value json.RawMessage) object {
	more := object{key: value}
	maps.Copy(more, o)
	return more
}

func readRaw(raw json.RawMessage) (json.RawMessage, error) { return raw, nil }

// withValue is a JSON object with the value at a key, and all else of its text as it was. Of a key that is there twice the last one
// counts, as everywhere.
func withValue(o json.RawMessage, key string, value json.RawMessage) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(o))
	_, _ = d.Token() // the brace; the text is known to be an object
	begin, end := 0, 0
	for d.More() {
		name, _ := d.Token()
		var old json.RawMessage
		_ = d.Decode(&old)
		if name == key {
			end = int(d.InputOffset())
			begin = end - len(old)
		}
	}
	if end > 0 {
		return slices.Concat(o[:begin], value, o[end:])
	}
	comma := ","
	head := bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(o), []byte("}")))
	if len(head) == 1 {
		comma = ""
	}
	return slices.Concat(head, []byte(comma+`"`+key+`":`), value, []byte("}"))
}
