package chat

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestTemplatesReadNoFiles(t *testing.T) {
	for _, text := range []string{
		`{% include "/etc/hostname" %}`, `{% extends "/etc/hostname" %}`, `{% import "/etc/hostname" as x %}`,
		`{% from "/etc/hostname" import x %}`,
	} {
		_, err := Parse(text, fstest.MapFS{})
		require.ErrorContains(t, err, "expected the tag if, for, set", text)
	}
}

func TestTemplatesEnd(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"loops":     {`{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}`, "does too much"},
		"doubling":  {`{% set n = namespace(x='xxxxxxxx') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}`, "does too much"},
		"recursion": {`{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}`, "more than 10000 expressions, tags and macros are inside of each other"},
		"chain":     {`{{ 1` + strings.Repeat(" + 1", 30000) + ` }}`, "more than 10000 expressions"},
		"branching": {`{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(99) }}`, "does too much"},
		"ranges":    {`{% macro m() %}{% for a in range(99) %}{% set x = [` + strings.Repeat("range(99999), ", 99) + `] %}{% endfor %}{% endmacro %}{{ m() }}`, "does too much"},
		"range":     {`{{ range(100001) }}`, "more than 100000 numbers"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := renderSnippet(t, c.text, nil)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "line 1")
		})
	}
}

// Lists inside of lists are gone through by recursion.
func TestDeepListsEnd(t *testing.T) {
	text := `{% set n = namespace(x=1) %}{% for a in range(700) %}{% for b in range(1000) %}{% set n.x = [n.x] %}{% endfor %}{% endfor %}`
	_, err := renderSnippet(t, text+`{{ n.x }}`, nil)
	require.ErrorContains(t, err, "does too much")
	text = strings.ReplaceAll(text, "700", "150")
	got, err := renderSnippet(t, text+`{{ n.x == [n.x] }}{{ n.x | tojson | length }}`, nil)
	require.NoError(t, err)
	require.Equal(t, "False300001", got)
}

func TestRenderRefusesBrokenConversations(t *testing.T) {
	template, err := testTemplate(t, `{{ messages }}`)
	require.NoError(t, err)
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	for name, c := range map[string]struct {
		conversation Conversation
		want         string
	}{
		"message is no object":   {Conversation{Messages: []json.RawMessage{[]byte(`{}`), []byte(`"x"`)}}, "message 1: a str, not an object"},
		"message is no JSON":     {Conversation{Messages: []json.RawMessage{[]byte(`{"a":`)}}, "message 0: "},
		"message is empty":       {Conversation{Messages: []json.RawMessage{nil}}, "message 0: "},
		"something behind":       {Conversation{Messages: []json.RawMessage{[]byte(`{} {}`)}}, "message 0: "},
		"number is too large":    {Conversation{Variables: map[string]json.RawMessage{"n": []byte(`99999999999999999999`)}}, "n: "},
		"variable is no JSON":    {Conversation{Variables: map[string]json.RawMessage{"v": []byte(`{a}`)}}, "v: "},
		"variable is very deep":  {Conversation{Variables: map[string]json.RawMessage{"v": []byte(deep)}}, "exceeded max depth"},
		"float is too large":     {Conversation{Variables: map[string]json.RawMessage{"v": []byte(`1e999`)}}, "v: "},
		"variable is incomplete": {Conversation{Variables: map[string]json.RawMessage{"v": []byte(`[1,`)}}, "v: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := template.Render(c.conversation)
			require.ErrorContains(t, err, c.want)
			require.IsType(t, &Error{}, err)
		})
	}
}
