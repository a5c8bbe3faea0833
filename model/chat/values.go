package chat

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// The values that templates work with are nil (None), bool, int, float64, string, []any, tuple, view, *lazy, *dict, undefined,
// function, *namespace and *loop.
type (
	tuple []any
	// view is what range and a dict's methods return: loops go through it, but it is no list.
	view []any
	// lazy is what filters such as select return, a generator of Python: true even if empty, without a length, and good for one loop.
	lazy struct {
		items []any
		used  bool
	}
	// undefined is what Jinja makes of names and items that there are not; it holds the complaint for who uses it.
	undefined string
	function  func(a arguments) (any, error)
	namespace struct{ values map[string]any }
	// loop is the variable of that name inside of {% for %}.
	loop struct {
		items []any
		index int // counts from 0
	}
)

func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case []any:
		return "list"
	case tuple:
		return "tuple"
	case view:
		return "view"
	case *lazy:
		return "generator"
	case *dict:
		return "dict"
	case undefined:
		return string(v)
	case *namespace:
		return "namespace"
	case *loop:
		return "loop"
	default:
		return "function"
	}
}

func isTrue(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case tuple:
		return len(v) > 0
	case view:
		return len(v) > 0
	case *dict:
		return len(v.keys) > 0
	default:
		return true
	}
}

// textOf is str(v) of Python, as a template prints v.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "None", nil
	case bool:
		if v {
			return "True", nil
		}
		return "False", nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return floatText(v), nil
	case string:
		return v, nil
	case undefined:
		return "", nil
	case []any:
		text, err := joinLiterals(v)
		return "[" + text + "]", err
	case tuple:
		text, err := joinLiterals(v)
		if len(v) == 1 {
			text += ","
		}
		return "(" + text + ")", err
	case *dict:
		entries := make([]string, len(v.keys))
		for i, key := range v.keys {
			text, err := joinLiterals([]any{v.values[key]})
			if err != nil {
				return "", err
			}
			name, err := joinLiterals([]any{key})
			if err != nil {
				return "", err
			}
			entries[i] = name + ": " + text
		}
		return "{" + strings.Join(entries, ", ") + "}", nil
	default:
		return "", fmt.Errorf("a %s cannot be printed", typeName(v))
	}
}

// joinLiterals joins repr(item) of Python for all items.
func joinLiterals(items []any) (string, error) {
	texts := make([]string, len(items))
	for i, item := range items {
		var err error
		switch item := item.(type) {
		case string:
			texts[i] = quotePython(item)
		case undefined:
			texts[i] = "Undefined"
		default:
			texts[i], err = textOf(item)
		}
		if err != nil {
			return "", err
		}
	}
	return strings.Join(texts, ", "), nil
}

func floatText(v float64) string {
	if size := math.Abs(v); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func quotePython(text string) string {
	quote := '\''
	if strings.Contains(text, "'") && !strings.Contains(text, `"`) {
		quote = '"'
	}
	var out strings.Builder
	out.WriteRune(quote)
	for _, r := range text {
		switch {
		case r == quote || r == '\\':
			out.WriteString(`\` + string(r))
		case strings.ContainsRune("\n\r\t", r):
			out.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		case strconv.IsPrint(r):
			out.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&out, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			fmt.Fprintf(&out, `\U%08x`, r)
		}
	}
	out.WriteRune(quote)
	return out.String()
}

// isPythonSpace is str.isspace.
func isPythonSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }
