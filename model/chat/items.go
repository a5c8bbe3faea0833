package chat

import (
	"fmt"
	"slices"
	"strings"
)

// itemsOf are what a loop over v goes through: characters of a string, keys of a dict, nothing of what is undefined.
func itemsOf(v any) ([]any, error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case tuple:
		return v, nil
	case view:
		return v, nil
	case *lazy:
		if v.used {
			return nil, fmt.Errorf("the result of a filter is gone through twice; make it a list first")
		}
		v.used = true
		return v.items, nil
	case *dict:
		return v.keys, nil
	case string:
		items := []any{}
		for _, r := range v {
			items = append(items, string(r))
		}
		return items, nil
	case undefined:
		return nil, nil
	}
	return nil, fmt.Errorf("a %s cannot be iterated over", typeName(v))
}

// isOrdered says whether v, if it can be gone through at all, has items and slices.
func isOrdered(v any) bool {
	switch v.(type) {
	case view, *lazy:
		return false
	}
	return true
}

// item is v[key] of Jinja: undefined where Python would raise an error.
func item(v, key any) (any, error) {
	if complaint, ok := v.(undefined); ok {
		return nil, fmt.Errorf("%s", string(complaint))
	}
	if !isOrdered(v) {
		return nil, fmt.Errorf("a %s has no items; make it a list first", typeName(v))
	}
	if index, ok := key.(int); ok {
		if d, ok := v.(*dict); ok {
			return d.get(index), nil
		}
		items, err := itemsOf(v)
		if index < 0 {
			index += len(items)
		}
		if err != nil || index < 0 || index >= len(items) {
			return undefined(fmt.Sprintf("%s has no element %d", typeName(v), key)), nil
		}
		return items[index], nil
	}
	name, ok := key.(string)
	if !ok {
		return nil, fmt.Errorf("a %s is not supported as a key", typeName(key))
	}
	if d, ok := v.(*dict); ok {
		if value, ok := d.values[name]; ok {
			return value, nil
		}
	}
	return attribute(v, name)
}

func (d *dict) get(key any) any {
	if value, ok := d.values[key]; ok {
		return value
	}
	return undefined(fmt.Sprintf("dict has no key %v", key))
}

// attribute is v.name of Jinja: a method comes before a dict's entry.
func attribute(v any, name string) (any, error) {
	if method := methodOf(v, name); method != nil {
		return method, nil
	}
	switch v := v.(type) {
	case undefined:
		return nil, fmt.Errorf("%s", string(v))
	case *dict:
		if slices.Contains(otherDictMethods, name) {
			return nil, fmt.Errorf("the dict method %s is not supported", name)
		}
		if value, ok := v.values[name]; ok {
			return value, nil
		}
	case *namespace:
		if value, ok := v.values[name]; ok {
			return value, nil
		}
	case *loop:
		return v.attribute(name)
	}
	return undefined(fmt.Sprintf("'%s' object has no attribute '%s'", typeName(v), name)), nil
}

func (l *loop) attribute(name string) (any, error) {
	neighbour := func(i int) any {
		if i < 0 || i >= len(l.items) {
			return undefined("there is no " + name)
		}
		return l.items[i]
	}
	switch name {
	case "index":
		return l.index + 1, nil
	case "index0":
		return l.index, nil
	case "revindex":
		return len(l.items) - l.index, nil
	case "revindex0":
		return len(l.items) - l.index - 1, nil
	case "first":
		return l.index == 0, nil
	case "last":
		return l.index == len(l.items)-1, nil
	case "length":
		return len(l.items), nil
	case "previtem":
		return neighbour(l.index - 1), nil
	case "nextitem":
		return neighbour(l.index + 1), nil
	}
	return nil, fmt.Errorf("loop.%s is not supported", name)
}

// slice is v[start:stop:step]; nil bounds are those left out.
func slice(v, start, stop, step any) (any, error) {
	if complaint, ok := v.(undefined); ok {
		return nil, fmt.Errorf("%s", string(complaint))
	}
	_, isDict := v.(*dict)
	items, err := itemsOf(v)
	if err != nil || isDict || !isOrdered(v) {
		return nil, fmt.Errorf("a %s has no slices", typeName(v))
	}
	by := 1
	if step != nil {
		number, ok := step.(int)
		if !ok || number == 0 {
			return nil, fmt.Errorf("the step of a slice is not a number other than 0")
		}
		by = number
	}
	first, last, low, high := 0, len(items), 0, len(items)
	if by < 0 {
		first, last, low, high = len(items)-1, -1, -1, len(items)-1
	}
	for _, bound := range []struct {
		given any
		at    *int
	}{{start, &first}, {stop, &last}} {
		if bound.given == nil {
			continue
		}
		i, ok := bound.given.(int)
		if !ok {
			return nil, fmt.Errorf("a bound of a slice is a %s, not an int", typeName(bound.given))
		}
		if i < 0 {
			i += len(items)
		}
		*bound.at = min(max(i, low), high)
	}
	picked := []any{}
	for i := first; by > 0 && i < last || by < 0 && i > last; i += by {
		picked = append(picked, items[i])
	}
	switch v.(type) {
	case string:
		return joinTexts(picked, "")
	case tuple:
		return tuple(picked), nil
	}
	return picked, nil
}

func joinTexts(items []any, separator string) (string, error) {
	texts := make([]string, len(items))
	for i, item := range items {
		var err error
		if texts[i], err = textOf(item); err != nil {
			return "", err
		}
	}
	return strings.Join(texts, separator), nil
}
