package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
)

// mostInts is the most integers of a list: more than any context has tokens.
const mostInts = 1 << 22

// readInts reads a flat list of integers. It is one pass of the decoder because prompts are long.
func readInts(raw json.RawMessage) ([]int64, error) {
	const want = wanted("a list of integers")
	if kind(raw) != "a list" {
		return nil, want
	}
	var ids []int64
	// encoding/json would take a null for a zero, and read a list of lists to its end.
	flat := kind(bytes.TrimLeft(raw, " \t\r\n")[1:]) == "a number" && bytes.IndexByte(raw, 'n') < 0
	if flat && bytes.Count(raw, []byte(",")) >= mostInts {
		return nil, wanted(fmt.Sprintf("a list of at most %d integers", mostInts))
	}
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
