package chat

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// textMethods are the methods of strings. Where Python takes keywords or more arguments than here, such calls are errors.
var textMethods = map[string]func(s string, a arguments) (any, error){
	"strip":      stripper(true, true),
	"lstrip":     stripper(true, false),
	"rstrip":     stripper(false, true),
	"startswith": affix(strings.HasPrefix),
	"endswith":   affix(strings.HasSuffix),
	"upper":      plain(upper),
	"lower":      plain(lower),
	"title":      plain(title),
	"capitalize": plain(capitalize),
	"split":      split,
	"replace":    replace,
	"join": func(s string, a arguments) (any, error) {
		taken, err := a.take(1, "iterable")
		if err != nil {
			return nil, err
		}
		items, err := itemsOf(taken[0])
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if _, ok := item.(string); !ok {
				return nil, fmt.Errorf("join: a %s is not a str", typeName(item))
			}
		}
		return joinTexts(items, s)
	},
}

// plain makes a method without arguments.
func plain(change func(string) string) func(s string, a arguments) (any, error) {
	return func(s string, a arguments) (any, error) {
		_, err := a.take(0)
		return change(s), err
	}
}

func stripper(left, right bool) func(s string, a arguments) (any, error) {
	return func(s string, a arguments) (any, error) {
		texts, given, err := a.takeTexts(0, "chars")
		if err != nil {
			return nil, err
		}
		strip := isPythonSpace
		if given[0] {
			strip = func(r rune) bool { return strings.ContainsRune(texts[0], r) }
		}
		if left {
			s = strings.TrimLeftFunc(s, strip)
		}
		if right {
			s = strings.TrimRightFunc(s, strip)
		}
		return s, nil
	}
}

// affix makes startswith and endswith, which take one string or a tuple of them.
func affix(has func(s, affix string) bool) func(s string, a arguments) (any, error) {
	return func(s string, a arguments) (any, error) {
		taken, err := a.take(1, "affix")
		if err != nil {
			return nil, err
		}
		choices, isTuple := taken[0].(tuple)
		if !isTuple {
			choices = tuple{taken[0]}
		}
		for _, choice := range choices {
			text, ok := choice.(string)
			if !ok {
				return nil, fmt.Errorf("a %s is not a str", typeName(choice))
			}
			if has(s, text) {
				return true, nil
			}
		}
		return false, nil
	}
}

func split(s string, a arguments) (any, error) {
	taken, err := a.take(0, "sep", "maxsplit")
	if err != nil {
		return nil, err
	}
	separator, bySeparator := taken[0].(string)
	most, limited := taken[1].(int)
	var parts []string
	switch {
	case bySeparator && separator == "":
		return nil, fmt.Errorf("split: the separator is empty")
	case bySeparator && limited && most >= 0:
		parts = strings.SplitN(s, separator, most+1)
	case bySeparator && (limited || taken[1] == (absent{})):
		parts = strings.Split(s, separator)
	case (taken[0] == nil || taken[0] == (absent{})) && taken[1] == (absent{}):
		parts = strings.FieldsFunc(s, isPythonSpace)
	default:
		return nil, fmt.Errorf("split: these arguments are not supported")
	}
	items := make([]any, len(parts))
	for i, part := range parts {
		items[i] = part
	}
	return items, nil
}

func replace(s string, a arguments) (any, error) {
	taken, err := a.take(2, "old", "new", "count")
	if err != nil {
		return nil, err
	}
	old, oldText := taken[0].(string)
	with, newText := taken[1].(string)
	count, limited := taken[2].(int)
	if !limited {
		count = -1
	}
	if !oldText || !newText || !limited && taken[2] != (absent{}) && taken[2] != nil {
		return nil, fmt.Errorf("replace: takes two strings and a count")
	}
	return strings.Replace(s, old, with, count), nil
}

func upper(s string) string { return cases.Upper(language.Und).String(s) }

func lower(s string) string { return cases.Lower(language.Und).String(s) }

// title is str.title: every letter behind something that is no letter becomes upper case, all others lower case.
func title(s string) string {
	var out strings.Builder
	inside := false
	for _, r := range s {
		if inside {
			out.WriteRune(unicode.ToLower(r))
		} else {
			out.WriteRune(unicode.ToTitle(r))
		}
		inside = unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
	}
	return out.String()
}

func capitalize(s string) string {
	for i, r := range s {
		first := len(string(r))
		return string(unicode.ToTitle(r)) + lower(s[i+first:])
	}
	return s
}
