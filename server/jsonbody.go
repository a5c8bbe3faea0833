package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// object is a JSON object by exact key: encoding/json's struct fields would match "TEXT" too, and unknown keys must pass.
type object map[string]json.RawMessage

// readObject reads a request body that must be one JSON object.
func readObject(r *http.Request) (object, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, malformed("the request body is in Content-Encoding %s; send it as it is", coding)
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, fmt.Errorf("the request body is larger than %d bytes: %w", tooLarge.Limit, err)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, errSlowBody
		}
		return nil, malformed("the request body could not be read: %v", err)
	}
	return parseObject(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))) // some clients begin with a byte order mark
}

func parseObject(data []byte) (object, error) {
	if !utf8.Valid(data) {
		return nil, malformed("the request body is not valid UTF-8")
	}
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		if isA[*json.UnmarshalTypeError](err) {
			return nil, malformed("the request body must be a JSON object, got %s", kind(data))
		}
		where := ""
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			where = fmt.Sprintf(" at byte %d", syntax.Offset)
		}
		return nil, malformed("the request body is not valid JSON: %v%s", err, where)
	}
	if o == nil {
		return nil, malformed("the request body must be a JSON object, got null")
	}
	if at := loneSurrogate(data); at >= 0 {
		return nil, malformed("the request body has half of a surrogate pair at byte %d", at)
	}
	return o, nil
}

// loneSurrogate finds an escape in valid JSON that is half of a surrogate pair without the other, which decoding would replace; -1 if there
// is none.
func loneSurrogate(data []byte) int {
	unit := func(at int) rune { // of the escape there, or -1
		if at+6 > len(data) || data[at] != '\\' || data[at+1] != 'u' {
			return -1
		}
		u, err := strconv.ParseUint(string(data[at+2:at+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(u)
	}
	for at := 0; ; {
		next := bytes.IndexByte(data[at:], '\\')
		if next < 0 {
			return -1
		}
		at += next
		switch u := unit(at); {
		case u < 0:
			at += 2
		case !utf16.IsSurrogate(u):
			at += 6
		case utf16.DecodeRune(u, unit(at+6)) == utf8.RuneError:
			return at
		default:
			at += 12
		}
	}
}

// kind names the type of a JSON value.
func kind(raw json.RawMessage) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// reader turns a JSON value into a T. Its error says what was wanted: "a string".
type reader[T any] func(json.RawMessage) (T, error)

// wanted is the error of a reader.
type wanted string

func (w wanted) Error() string { return string(w) }

func readString(raw json.RawMessage) (s string, err error) {
	if kind(raw) != "a string" || json.Unmarshal(raw, &s) != nil {
		return "", wanted("a string")
	}
	return s, nil
}

func readFloat(raw json.RawMessage) (f float64, err error) {
	if kind(raw) != "a number" || json.Unmarshal(raw, &f) != nil {
		return 0, wanted("a number")
	}
	return f, nil
}

// readInt takes 3 and 3.0 alike: JSON has one kind of number.
func readInt(raw json.RawMessage) (int, error) {
	f, err := readFloat(raw)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, wanted("an integer")
	}
	return int(f), nil
}

// readBool takes 0 and 1 too, as SGLang's validation does.
func readBool(raw json.RawMessage) (bool, error) {
	switch string(bytes.TrimSpace(raw)) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, wanted("a boolean")
}

// readInts reads a flat list of integers. It is one pass of the decoder because prompts are long.
func readInts(raw json.RawMessage) ([]int64, error) {
	const want = wanted("a list of integers")
	if kind(raw) != "a list" {
		return nil, want
	}
	var ids []int64
	// encoding/json would take a null for a zero, and read a list of lists to its end.
	flat := kind(bytes.TrimLeft(raw, " \t\r\n")[1:]) == "a number" && bytes.IndexByte(raw, 'n') < 0 && bytes.Count(raw, []byte(",")) < maxElements
	if flat && json.Unmarshal(raw, &ids) == nil {
		return ids, nil
	}
	return nil, cmp.Or(eachOf(raw, func(i int, e json.RawMessage) error {
		if _, err := strconv.ParseInt(string(e), 10, 64); err != nil {
			return wanted(fmt.Sprintf("%v (element %d is %s)", want, i, short(e)))
		}
		return nil
	}), error(want))
}

func readObjectValue(raw json.RawMessage) (o object, err error) {
	if kind(raw) != "an object" || json.Unmarshal(raw, &o) != nil {
		return nil, wanted("an object")
	}
	return o, nil
}

// nullable reads null as nil.
func nullable[T any](read reader[T]) reader[*T] {
	return func(raw json.RawMessage) (*T, error) {
		if kind(raw) == "null" {
			return nil, nil
		}
		v, err := read(raw)
		return &v, err
	}
}

// readList reads each element of a list.
func readList[T any](read reader[T]) reader[[]T] {
	return func(raw json.RawMessage) ([]T, error) {
		if kind(raw) != "a list" {
			return nil, wanted("a list")
		}
		values := []T{}
		err := eachOf(raw, func(i int, e json.RawMessage) error {
			v, err := read(e)
			if err != nil {
				return wanted(fmt.Sprintf("a list whose every element is %v (element %d is %s)", err, i, kind(e)))
			}
			if i == maxElements {
				return wanted(fmt.Sprintf("a list of at most %d elements", maxElements))
			}
			values = append(values, v)
			return nil
		})
		return values, err
	}
}

// maxElements is the most elements of a list whose elements are read one by one: more than any vocabulary has tokens. A body of two bytes for
// each would take many times its size.
const maxElements = 1 << 19

// eachOf calls f with each element of a list, until f fails.
func eachOf(list json.RawMessage, f func(i int, element json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(list))
	if _, err := d.Token(); err != nil { // the bracket
		return err
	}
	for i := 0; d.More(); i++ {
		var element json.RawMessage
		if err := d.Decode(&element); err != nil {
			return err
		}
		if err := f(i, element); err != nil {
			return err
		}
	}
	return nil
}

// field reads a key that may be missing or null, which both give the zero value.
func field[T any](o object, key string, read reader[T]) (v T, err error) {
	return fieldOr(o, key, read, v)
}

// fieldOr is field with another default.
func fieldOr[T any](o object, key string, read reader[T], otherwise T) (T, error) {
	raw, ok := o[key]
	if !ok || kind(raw) == "null" {
		return otherwise, nil
	}
	v, err := read(raw)
	if err != nil {
		return v, malformed("%s must be %v, got %s", key, err, kind(raw))
	}
	return v, nil
}

// perPrompt is a field given once for all prompts or as a list with one value for each.
type perPrompt[T any] struct {
	set    bool
	list   bool
	values []T
}

// at returns the value for prompt i, or fallback where the field is not set.
func (p perPrompt[T]) at(i int, fallback T) T {
	switch {
	case !p.set:
		return fallback
	case p.list:
		return p.values[i]
	}
	return p.values[0]
}

// fits says whether the field has a value for each of n prompts.
func (p perPrompt[T]) fits(n int) bool { return !p.list || len(p.values) == n }

// oneOrMany reads a field that is a T or a list of T.
func oneOrMany[T any](o object, key string, read reader[T]) (perPrompt[T], error) {
	raw, ok := o[key]
	if !ok || kind(raw) == "null" {
		return perPrompt[T]{}, nil
	}
	one, wantOne := read(raw)
	if wantOne == nil {
		return perPrompt[T]{set: true, values: []T{one}}, nil
	}
	if kind(raw) != "a list" {
		return perPrompt[T]{}, malformed("%s must be %v or a list, got %s", key, wantOne, kind(raw))
	}
	many, err := readList(read)(raw)
	if err != nil {
		return perPrompt[T]{}, malformed("%s must be %v or %v", key, wantOne, err)
	}
	return perPrompt[T]{set: true, list: true, values: many}, nil
}

// short is a value for an error message.
func short(raw json.RawMessage) string {
	const most = 60
	text := []rune(string(raw[:min(len(raw), (most+1)*utf8.UTFMax)]))
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// encoder writes JSON as clients expect text: without HTML escapes.
func encoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
