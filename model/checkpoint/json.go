package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// reader reads JSON of a known form token by token. Unlike encoding/json's
// Unmarshal it refuses duplicate keys, matches keys exactly and takes null for
// nothing.
type reader struct{ *json.Decoder }

func newReader(data []byte) reader {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return reader{d}
}

// object reads an object and calls value for each key, which must read exactly
// the key's value.
func (r reader) object(value func(key string) error) error {
	if err := r.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for r.More() {
		key, err := r.string()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("key %q occurs twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	return r.delim('}')
}

// maxIntegers bounds the lists of integers: no array has more dimensions.
const maxIntegers = 64

// integers reads a short list of integers in [0, 2^63).
func (r reader) integers() ([]int, error) {
	if err := r.delim('['); err != nil {
		return nil, err
	}
	list := []int{}
	for r.More() {
		if len(list) == maxIntegers {
			return nil, fmt.Errorf("want a list of integers, got more than %d", maxIntegers)
		}
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		number, ok := t.(json.Number)
		n, err := strconv.ParseUint(number.String(), 10, 63)
		if !ok || err != nil {
			return nil, fmt.Errorf("want a non-negative integer, got %v", t)
		}
		list = append(list, int(n))
	}
	return list, r.delim(']')
}

func (r reader) string() (string, error) {
	t, err := r.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("want a string, got %v", t)
	}
	return s, nil
}

func (r reader) delim(want json.Delim) error {
	t, err := r.token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("want %q, got %v", want, t)
	}
	return nil
}

// end checks that nothing but white space is left.
func (r reader) end() error {
	if t, err := r.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("want the end, got %v", t)
	}
	return nil
}

func (r reader) token() (json.Token, error) {
	t, err := r.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return t, err
}
