package chat

import (
	"fmt"
	"strconv"
	"strings"
)

// filters are what may stand behind "|". "safe" is missing: text that is marked so makes Jinja escape what is added to it.
var filters = map[string]func(v any, a arguments) (any, error){
	"trim":       textFilter(stripper(true, true)),
	"upper":      textFilter(plain(upper)),
	"lower":      textFilter(plain(lower)),
	"capitalize": textFilter(plain(capitalize)),
	"replace":    textFilter(replace),
	"string":     textFilter(plain(func(s string) string { return s })),
	"length":     length,
	"count":      length,
	"tojson":     toJSON,
	"default":    orDefault,
	"d":          orDefault,
	"int":        toInt,
	"join":       join,
	"first":      func(v any, a arguments) (any, error) { return end(v, a, 0) },
	"last":       func(v any, a arguments) (any, error) { return end(v, a, -1) },
	"list": func(v any, a arguments) (any, error) {
		if _, err := a.take(0); err != nil {
			return nil, err
		}
		return itemsOf(v)
	},
	"items": func(v any, a arguments) (any, error) {
		_, err := a.take(0)
		switch v := v.(type) {
		case *dict:
			return &lazy{items: v.items()}, err
		case undefined:
			return &lazy{}, err
		}
		return nil, fmt.Errorf("a %s is not a dict", typeName(v))
	},
	"map":        mapAttribute,
	"select":     func(v any, a arguments) (any, error) { return pick(v, a, nil, true) },
	"reject":     func(v any, a arguments) (any, error) { return pick(v, a, nil, false) },
	"selectattr": func(v any, a arguments) (any, error) { return pickByAttribute(v, a, true) },
	"rejectattr": func(v any, a arguments) (any, error) { return pickByAttribute(v, a, false) },
}

// textFilter makes a filter that works on str(v).
func textFilter(method func(s string, a arguments) (any, error)) func(v any, a arguments) (any, error) {
	return func(v any, a arguments) (any, error) {
		text, err := textOf(v)
		if err != nil {
			return nil, err
		}
		return method(text, a)
	}
}

func length(v any, a arguments) (any, error) {
	if _, err := a.take(0); err != nil {
		return nil, err
	}
	if _, ok := v.(*lazy); ok {
		return nil, fmt.Errorf("a generator has no length")
	}
	items, err := itemsOf(v)
	return len(items), err
}

// toJSON is transformers' tojson.
func toJSON(v any, a arguments) (any, error) {
	taken, err := a.take(0, "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return nil, err
	}
	w := &jsonWriter{}
	switch indent := taken[1].(type) {
	case int:
		w.pretty, w.indent = true, strings.Repeat(" ", min(max(indent, 0), 16))
	case absent, nil:
	default:
		return nil, fmt.Errorf("an indent of type %s is not supported", typeName(indent))
	}
	for _, other := range []any{taken[0], taken[2], taken[3]} {
		if other != (absent{}) && isTrue(other) {
			return nil, fmt.Errorf("only indent is supported")
		}
	}
	err = w.write(v, 0)
	return w.out.String(), err
}

func orDefault(v any, a arguments) (any, error) {
	taken, err := a.take(0, "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	_, missing := v.(undefined)
	if !missing && (taken[1] == (absent{}) || !isTrue(taken[1]) || isTrue(v)) {
		return v, nil
	}
	if taken[0] == (absent{}) {
		return "", nil
	}
	return taken[0], nil
}

func toInt(v any, a arguments) (any, error) {
	if _, err := a.take(0); err != nil {
		return nil, err
	}
	if f, ok := float(v); ok {
		return int(f), nil
	}
	if complaint, ok := v.(undefined); ok {
		return nil, fmt.Errorf("%s", string(complaint))
	}
	text, ok := v.(string)
	if !ok {
		return 0, nil
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return 0, nil
	}
	return int(f), nil
}

func join(v any, a arguments) (any, error) {
	texts, _, err := a.takeTexts(0, "d")
	if err != nil {
		return nil, err
	}
	items, err := itemsOf(v)
	if err != nil {
		return nil, err
	}
	return joinTexts(items, texts[0])
}

// end is the filters first and last.
func end(v any, a arguments, index int) (any, error) {
	if _, err := a.take(0); err != nil {
		return nil, err
	}
	if _, ok := v.(*lazy); ok && index < 0 {
		return nil, fmt.Errorf("a generator has no end")
	}
	items, err := itemsOf(v)
	if err != nil {
		return nil, err
	}
	return item(items, index)
}

func mapAttribute(v any, a arguments) (any, error) {
	name := a.named["attribute"]
	if name == nil || len(a.named) > 1 || len(a.list) > 0 {
		return nil, fmt.Errorf(`only map(attribute="name") is supported`)
	}
	items, err := itemsOf(v)
	if err != nil {
		return nil, err
	}
	mapped := make([]any, len(items))
	for i := range items {
		if mapped[i], err = itemByName(items[i], name); err != nil {
			return nil, err
		}
	}
	return &lazy{items: mapped}, nil
}

// itemByName is v[name]. Jinja takes names with dots for paths.
func itemByName(v, name any) (any, error) {
	text, ok := name.(string)
	if !ok || strings.Contains(text, ".") {
		return nil, fmt.Errorf("the attribute %v is not a plain name", name)
	}
	return item(v, text)
}

func pickByAttribute(v any, a arguments, wanted bool) (any, error) {
	if len(a.list) == 0 {
		return nil, fmt.Errorf("misses the name of an attribute")
	}
	name := a.list[0]
	a.list = a.list[1:]
	return pick(v, a, func(v any) (any, error) { return itemByName(v, name) }, wanted)
}

// pick returns the items of v whose aspect, the item itself without one, passes a test as wanted. The arguments are the test's
// name and its parameters; without any the test is the truth.
func pick(v any, a arguments, aspect func(v any) (any, error), wanted bool) (any, error) {
	if len(a.named) > 0 {
		return nil, fmt.Errorf("takes no named arguments")
	}
	test := func(v any, _ []any) (bool, error) { return isTrue(v), nil }
	if len(a.list) > 0 {
		name, _ := a.list[0].(string)
		if test = valueTests[name]; test == nil {
			return nil, fmt.Errorf("the test %q is not supported", name)
		}
		a.list = a.list[1:]
	}
	items, err := itemsOf(v)
	if err != nil {
		return nil, err
	}
	picked := []any{}
	for _, candidate := range items {
		value := candidate
		if aspect != nil {
			if value, err = aspect(candidate); err != nil {
				return nil, err
			}
		}
		passed, err := test(value, a.list)
		if err != nil {
			return nil, err
		}
		if passed == wanted {
			picked = append(picked, candidate)
		}
	}
	return &lazy{items: picked}, nil
}
