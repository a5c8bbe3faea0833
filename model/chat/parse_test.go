package chat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSaysWhatItExpects(t *testing.T) {
	for text, want := range map[string]string{
		"a\n{{ ":                     `line 2: expected "}}", found the end of the template`,
		"{{ (a }}":                   `line 1: expected ")", found "}"`,
		"{{ [a":                      `line 1: expected "]", found the end of the template`,
		"{{ a) }}":                   `line 1: expected a bracket that is open, found ")"`,
		"{{ a\n! }}":                 `line 2: expected a value or an operator, found '!'`,
		"{{ 'a }}":                   `line 1: expected the end of a string, found the end of the template`,
		`{{ '\101' }}`:               `line 1: expected a character that is supported behind a backslash, found '1'`,
		`{{ '\x4' }}`:                `line 1: expected hexadecimal digits of a character, found "\\x4' }"`,
		"{{ 012 }}":                  `line 1: expected a number that does not begin with 0, found 012`,
		"{{ 99999999999999999999 }}": `line 1: expected a number of 64 bits, found "99999999999999999999"`,
		"{# a":                       `line 1: expected "#}" behind "{#", found the end of the template`,
		"{{ }}":                      `line 1: expected a value, found "}}"`,
		"{{ a 'b' }}":                `line 1: expected "}}", found the string "b"`,
		"{{ a.'b' }}":                `line 1: expected a name or a number, found the string "b"`,
		"{{ 2 ** 3 }}":               `line 1: expected "}}", found "**"`,
		"{{ [a b] }}":                `line 1: expected ",", found "b"`,
		"{{ {a} }}":                  `line 1: expected ":", found "}"`,
		"{{ f(a=1, 2) }}":            `line 1: expected an argument with a name, found "2"`,
		"{{ f(a=1, a=2) }}":          `line 1: expected every name once, found "a"`,
		"{{ a | pprint }}":           `line 1: expected the name of a filter that is supported, found "pprint"`,
		"{{ a is not callable }}":    `line 1: expected the name of a test that is supported, found "callable"`,
		"{{ a is eq(b=1) }}":         `line 1: expected a test without named arguments, found the name "b"`,
		"{{ a is none is true }}":    `line 1: expected parentheses around a test that is tested, found "is"`,
		"\n{% if a %}\n":             `line 2: expected the tag elif or else or endif, found the end of the template`,
		"{% endif %}":                `line 1: expected the tag if, for, set, macro, generation, break, continue, found "endif"`,
		"{% for a %}":                `line 1: expected "in", found "%}"`,
		"{% for loop in a %}":        `line 1: expected another name, found "loop"`,
		"{% for a in b recursive %}": `line 1: expected "%}", found "recursive"`,
		"{% set a | upper %}":        `line 1: expected "=" or "%}", found "|"`,
		"{% set none = 1 %}":         `line 1: expected a name that can be set, found "none"`,
		"{% set 1 = 1 %}":            `line 1: expected a name, found "1"`,
		"{% macro m(a, a) %}":        `line 1: expected a parameter with another name, found "a"`,
		"{% macro m(a=1, b) %}":      `line 1: expected "=", found ")"`,
		"{% break %}":                `line 1: expected a loop around this tag, found "break"`,
	} {
		_, err := parse(text)
		require.EqualError(t, err, want, text)
	}
}

func TestParseBoundsNesting(t *testing.T) {
	for name, c := range map[string]struct{ before, after string }{
		"parentheses": {"(", ")"},
		"lists":       {"[", "]"},
		"dicts":       {"{1:", "}"},
		"calls":       {"f(", ")"},
		"items":       {"f[", "]"},
		"not":         {"not ", ""},
		"signs":       {"-", ""},
		"else":        {"1 if 1 else ", ""},
		"tags":        {"1 }}{% if 1 %}{{ ", "}}{% endif %}{{ 1"},
	} {
		t.Run(name, func(t *testing.T) {
			nested := func(n int) string {
				return "{{ " + strings.Repeat(c.before, n) + "1" + strings.Repeat(c.after, n) + " }}"
			}
			_, err := parse(nested(90))
			require.NoError(t, err)
			_, err = parse(nested(2000))
			require.ErrorContains(t, err, "expected at most 200 tags and brackets inside of each other")
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, snippet := range readTestData[snippetFile](f, "snippets.json").Snippets {
		f.Add(snippet)
	}
	f.Fuzz(func(t *testing.T, text string) {
		template, err := Parse(text, testFolder)
		if err != nil {
			require.Nil(t, template)
			return
		}
		_, err = template.Render(Conversation{})
		if err != nil {
			require.NotContains(t, err.Error(), "the chat template fails")
		}
	})
}
