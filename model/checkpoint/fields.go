package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// fields reads the fields of a JSON object one by one. A field with the wrong
// value is noted with its name and what was expected, and reading goes on, so
// that one error tells all. A null counts as left out.
type fields struct {
	prefix string // of the names in errors
	raw    map[string]json.RawMessage
	errs   *[]error
}

func parseFields(text []byte) (fields, error) {
	f := fields{errs: new([]error)}
	if err := json.Unmarshal(text, &f.raw); err != nil {
		return f, err
	}
	if f.raw == nil {
		return f, errors.New("want an object, got null")
	}
	return f, nil
}

// err is everything noted so far.
func (f fields) err() error { return errors.Join(*f.errs...) }

func (f fields) has(name string) bool {
	raw, ok := f.raw[name]
	return ok && !bytes.Equal(raw, []byte("null"))
}

// want notes what a field should have been, and what it is.
func (f fields) want(name, expected string) {
	got := "nothing"
	if f.has(name) {
		got = string(f.raw[name])
		if len(got) > 100 {
			got = got[:100] + "..."
		}
	}
	*f.errs = append(*f.errs, fmt.Errorf("%s%s: want %s, got %s", f.prefix, name, expected, got))
}

// decode reads a field, where it is there, into v. expected describes the right
// kind of value.
func (f fields) decode(name, expected string, v any) {
	if f.has(name) && json.Unmarshal(f.raw[name], v) != nil {
		f.want(name, expected)
	}
}

// size reads an integer in [1, limit]; it may not be left out.
func (f fields) size(name string, limit int) int {
	n := 0
	if json.Unmarshal(f.raw[name], &n) != nil || n < 1 || n > limit {
		f.want(name, fmt.Sprintf("an integer from 1 to %d", limit))
		return 1
	}
	return n
}

// sizeOr is size with a value for a field that is left out.
func (f fields) sizeOr(name string, limit, otherwise int) int {
	if !f.has(name) {
		return otherwise
	}
	return f.size(name, limit)
}

// positive reads a number above zero.
func (f fields) positive(name string) float64 {
	x := 0.0
	if json.Unmarshal(f.raw[name], &x) != nil || x <= 0 {
		f.want(name, "a number above 0")
		return 1
	}
	return x
}

// positiveOr is positive with a value for a field that is left out.
func (f fields) positiveOr(name string, otherwise float64) float64 {
	if !f.has(name) {
		return otherwise
	}
	return f.positive(name)
}

func (f fields) bool(name string) bool {
	b := false
	f.decode(name, "true or false", &b)
	return b
}

// oneOf reads one of some strings. Where otherwise is not empty, the field may
// be left out and then counts as otherwise.
func (f fields) oneOf(name, otherwise string, choices ...string) string {
	s := ""
	if !f.has(name) && otherwise != "" {
		return otherwise
	}
	if json.Unmarshal(f.raw[name], &s) != nil || !slices.Contains(choices, s) {
		f.want(name, fmt.Sprintf("one of %q", choices))
		return choices[0]
	}
	return s
}

// object reads a nested object; nil fields where it is left out or empty.
func (f fields) object(name string) fields {
	nested := fields{prefix: f.prefix + name + ".", errs: f.errs}
	f.decode(name, "an object", &nested.raw)
	return nested
}

// tokens reads a token id or a list of them, all below vocab; nil where the
// field is left out.
func (f fields) tokens(name string, vocab int) []int32 {
	if !f.has(name) {
		return nil
	}
	var one int32
	var list []int32
	if json.Unmarshal(f.raw[name], &one) == nil {
		list = []int32{one}
	} else if json.Unmarshal(f.raw[name], &list) != nil {
		list = []int32{-1}
	}
	for _, id := range list {
		if id < 0 || int(id) >= vocab {
			f.want(name, fmt.Sprintf("a token id below %d or a list of such", vocab))
			return nil
		}
	}
	return list
}
