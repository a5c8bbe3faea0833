package server

import (
	"bytes"
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
