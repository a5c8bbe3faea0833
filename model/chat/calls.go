package chat

import "fmt"

// arguments are those of one call.
type arguments struct {
	list  []any
	named map[string]any
}

// absent stands for an optional argument that is not given.
type absent struct{}

// take puts the arguments into the order of the parameters' names. The first required ones have to be there, others are absent
// where they are not given.
func (a arguments) take(required int, names ...string) ([]any, error) {
	if len(a.list) > len(names) {
		return nil, fmt.Errorf("takes %d arguments, got %d", len(names), len(a.list))
	}
	taken := make([]any, len(names))
	used := 0
	for i, name := range names {
		value, named := a.named[name]
		switch {
		case named && i < len(a.list):
			return nil, fmt.Errorf("got %s twice", name)
		case named:
			taken[i] = value
			used++
		case i < len(a.list):
			taken[i] = a.list[i]
		case i < required:
			return nil, fmt.Errorf("misses the argument %s", name)
		default:
			taken[i] = absent{}
		}
	}
	if used < len(a.named) {
		return nil, fmt.Errorf("got an argument with an unknown name")
	}
	return taken, nil
}

// takeTexts is take for arguments that are strings; absent ones are "" and false.
func (a arguments) takeTexts(required int, names ...string) (texts []string, given []bool, err error) {
	taken, err := a.take(required, names...)
	if err != nil {
		return nil, nil, err
	}
	texts, given = make([]string, len(taken)), make([]bool, len(taken))
	for i, value := range taken {
		if value == (absent{}) || value == nil {
			continue
		}
		if texts[i], given[i] = value.(string); !given[i] {
			return nil, nil, fmt.Errorf("%s is a %s, not a str", names[i], typeName(value))
		}
	}
	return texts, given, nil
}

// methodOf returns the method of a value, nil if it has none of that name.
func methodOf(v any, name string) any {
	switch v := v.(type) {
	case string:
		if method := textMethods[name]; method != nil {
			return function(func(a arguments) (any, error) { return method(v, a) })
		}
	case *dict:
		if method := dictMethods[name]; method != nil {
			return function(func(a arguments) (any, error) { return method(v, a) })
		}
	}
	return nil
}

var dictMethods = map[string]func(d *dict, a arguments) (any, error){
	"items": func(d *dict, a arguments) (any, error) {
		_, err := a.take(0)
		return view(d.items()), err
	},
	"keys": func(d *dict, a arguments) (any, error) {
		_, err := a.take(0)
		return view(d.keys), err
	},
	"values": func(d *dict, a arguments) (any, error) {
		values := []any{}
		for _, key := range d.keys {
			values = append(values, d.values[key])
		}
		_, err := a.take(0)
		return view(values), err
	},
	"get": func(d *dict, a arguments) (any, error) {
		taken, err := a.take(1, "key", "default")
		if err != nil {
			return nil, err
		}
		switch taken[0].(type) {
		case string, int:
		default:
			return nil, fmt.Errorf("a %s is not supported as a key", typeName(taken[0]))
		}
		if value, ok := d.values[taken[0]]; ok {
			return value, nil
		}
		if taken[1] == (absent{}) {
			return nil, nil
		}
		return taken[1], nil
	},
}

// otherDictMethods hide entries of the same name, too.
var otherDictMethods = []string{"clear", "copy", "fromkeys", "pop", "popitem", "setdefault", "update"}

func (d *dict) items() []any {
	items := []any{}
	for _, key := range d.keys {
		items = append(items, tuple{key, d.values[key]})
	}
	return items
}
