package chat

import (
	"fmt"
	"strings"
	"time"
)

// mostRange is how long a range may be, as in Jinja's sandbox.
const mostRange = 100000

// templateGlobals are the names that every template has besides those of the conversation. now is the clock of strftime_now.
func templateGlobals(now func() time.Time) map[string]any {
	return map[string]any{
		"raise_exception": function(func(a arguments) (any, error) {
			texts, _, err := a.takeTexts(1, "message")
			if err != nil {
				return nil, err
			}
			return nil, &Error{texts[0]}
		}),
		"strftime_now": function(func(a arguments) (any, error) {
			texts, _, err := a.takeTexts(1, "format")
			if err != nil {
				return nil, err
			}
			return strftime(texts[0], now())
		}),
		"namespace": function(func(a arguments) (any, error) {
			if len(a.list) > 0 {
				return nil, fmt.Errorf("namespace takes named values only")
			}
			return &namespace{a.named}, nil
		}),
		"range": function(rangeOf),
	}
}

func rangeOf(a arguments) (any, error) {
	if len(a.list) == 0 || len(a.list) > 3 || len(a.named) > 0 {
		return nil, fmt.Errorf("range takes one to three numbers")
	}
	bounds := [3]int{0, 0, 1}
	for i, value := range a.list {
		var ok bool
		if bounds[i], ok = integer(value); !ok {
			return nil, fmt.Errorf("range: a %s is not an int", typeName(value))
		}
	}
	if len(a.list) == 1 {
		bounds[0], bounds[1] = 0, bounds[0]
	}
	step := bounds[2]
	if step == 0 {
		return nil, fmt.Errorf("range: the step is 0")
	}
	items := []any{}
	for i := bounds[0]; step > 0 && i < bounds[1] || step < 0 && i > bounds[1]; i += step {
		if len(items) == mostRange {
			return nil, fmt.Errorf("range: more than %d numbers", mostRange)
		}
		items = append(items, i)
	}
	return view(items), nil
}

// timeLayouts are strftime's directives as layouts of package time.
var timeLayouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'd': "02", 'H': "15", 'j': "002", 'm': "01", 'M': "04", 'S': "05",
	'y': "06", 'Y': "2006",
}

// strftime formats a time as Python does.
func strftime(format string, t time.Time) (string, error) {
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		if i++; i == len(format) {
			return "", fmt.Errorf("strftime_now: a %% is the last character of %q", format)
		}
		layout, ok := timeLayouts[format[i]]
		switch {
		case format[i] == '%':
			out.WriteByte('%')
		case ok:
			out.WriteString(t.Format(layout))
		default:
			return "", fmt.Errorf("strftime_now: the format %%%c is not supported", format[i])
		}
	}
	return out.String(), nil
}
