package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// dict is a Python dict: it keeps the order in which keys were set. Keys are strings or integers.
type dict struct {
	keys   []any
	values map[any]any
}

func newDict() *dict { return &dict{values: map[any]any{}} }

func (d *dict) set(key, value any) {
	if _, ok := d.values[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.values[key] = value
}

// decodeJSON turns JSON into what json.loads of Python makes of it: nil, bool, int, float64, string, []any or *dict.
func decodeJSON(data []byte) (any, error) {
	// Unmarshal sees whether it is JSON at all, with nothing behind it and not nested so deeply that reading it overflows the stack.
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decodeNext(decoder)
}

func decodeNext(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		return decodeNumber(token.String())
	case json.Delim:
		if token == '[' {
			return decodeList(decoder)
		}
		return decodeDict(decoder)
	default:
		return token, nil
	}
}

func decodeNumber(text string) (any, error) {
	if strings.ContainsAny(text, ".eE") {
		return strconv.ParseFloat(text, 64)
	}
	return strconv.Atoi(text)
}

func decodeList(decoder *json.Decoder) (any, error) {
	list := []any{}
	for decoder.More() {
		item, err := decodeNext(decoder)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err := decoder.Token()
	return list, err
}

func decodeDict(decoder *json.Decoder) (any, error) {
	d := newDict()
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		value, err := decodeNext(decoder)
		if err != nil {
			return nil, err
		}
		d.set(key, value)
	}
	_, err := decoder.Token()
	return d, err
}

// jsonWriter writes values as json.dumps of Python does with ensure_ascii=False. Without an indent all is in one line.
type jsonWriter struct {
	out    strings.Builder
	indent string
	pretty bool
}

func (w *jsonWriter) write(v any, depth int) error {
	switch v := v.(type) {
	case nil:
		w.out.WriteString("null")
	case bool:
		w.out.WriteString(strconv.FormatBool(v))
	case int, float64:
		text, _ := textOf(v)
		w.out.WriteString(text)
	case string:
		w.writeString(v)
	case []any:
		return w.writeItems('[', ']', len(v), depth, func(i int) error { return w.write(v[i], depth+1) })
	case tuple:
		return w.write([]any(v), depth)
	case *dict:
		return w.writeItems('{', '}', len(v.keys), depth, func(i int) error {
			key, ok := v.keys[i].(string)
			if !ok {
				return fmt.Errorf("the key %v is not a string", v.keys[i])
			}
			w.writeString(key)
			w.out.WriteString(": ")
			return w.write(v.values[key], depth+1)
		})
	default:
		return fmt.Errorf("%s is not JSON serializable", typeName(v))
	}
	return nil
}

func (w *jsonWriter) writeItems(open, closing byte, n, depth int, item func(i int) error) error {
	newline := func(depth int) {
		if w.pretty {
			w.out.WriteString("\n" + strings.Repeat(w.indent, depth))
		}
	}
	w.out.WriteByte(open)
	for i := range n {
		switch {
		case i > 0 && w.pretty:
			w.out.WriteString(",")
		case i > 0:
			w.out.WriteString(", ")
		}
		newline(depth + 1)
		if err := item(i); err != nil {
			return err
		}
	}
	if n > 0 {
		newline(depth)
	}
	w.out.WriteByte(closing)
	return nil
}

func (w *jsonWriter) writeString(text string) {
	w.out.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			w.out.WriteString(`\` + string(r))
		case strings.ContainsRune("\n\r\t\b\f", r):
			w.out.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		case r < ' ':
			fmt.Fprintf(&w.out, `\u%04x`, r)
		default:
			w.out.WriteRune(r)
		}
	}
	w.out.WriteByte('"')
}
