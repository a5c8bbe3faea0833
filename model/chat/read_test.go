package chat

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestRead(t *testing.T) {
	const config = "tokenizer_config.json"
	show := `{"bos_token": {"content": "<o>"}, "eos_token": "<e>", "add_bos_token": true, "pad_token": null, "chat_template": `
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"text": {map[string]string{config: show + `"{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ add_bos_token }}."}`}, "<o><e>."},
		"list": {map[string]string{config: show + `[{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}`}, "d"},
		"file first": {map[string]string{
			config: show + `"config"}`, "chat_template.jinja": "file {{ bos_token }}",
		}, "file <o>"},
		"tokens of the map": {map[string]string{
			"chat_template.jinja": "{{ bos_token }}{{ eos_token }}", "special_tokens_map.json": `{"bos_token": "<m>", "eos_token": {"content": "<n>"}}`,
			config: `{"eos_token": "<c>"}`,
		}, "<m><c>"},
		"no configuration": {map[string]string{"chat_template.jinja": "[{{ bos_token }}]"}, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			template, err := Read(folderOf(c.files))
			require.NoError(t, err)
			got, err := template.Render(Conversation{})
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestReadFindsNone(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"empty folder": nil,
		"no entry":     {"tokenizer_config.json": `{"bos_token": "<s>"}`},
		"null":         {"tokenizer_config.json": `{"chat_template": null}`},
	} {
		t.Run(name, func(t *testing.T) {
			template, err := Read(folderOf(files))
			require.NoError(t, err)
			require.Nil(t, template)
		})
	}
}

func TestReadRefuses(t *testing.T) {
	const config = "tokenizer_config.json"
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"broken file": {map[string]string{"chat_template.jinja": "x\n{% if %}"}, []string{"chat: chat_template.jinja: "}},
		"broken entry": {
			map[string]string{config: `{"chat_template": "x\n\n{{ ? }}"}`}, []string{"chat: " + config + ": line 3: expected a value or an operator, found '?'"},
		},
		"unknown filter": {
			map[string]string{"chat_template.jinja": "{{ x | pprint }}"}, []string{`line 1: expected the name of a filter that is supported, found "pprint"`},
		},
		"unknown test": {
			map[string]string{"chat_template.jinja": "{{ x is not callable }}"}, []string{`expected the name of a test that is supported, found "callable"`},
		},
		"no default": {
			map[string]string{config: `{"chat_template": [{"name": "rag", "template": "x"}]}`},
			[]string{config, `no chat_template is named "default"`},
		},
		"template a number": {map[string]string{config: `{"chat_template": 5}`}, []string{config, "neither a text nor a list"}},
		"broken JSON":       {map[string]string{config: `{`}, []string{"chat: ", config}},
		"broken token": {
			map[string]string{"chat_template.jinja": "x", config: `{"bos_token": {"content": 5}}`}, []string{config + ": bos_token: "},
		},
		"very long": {map[string]string{"chat_template.jinja": strings.Repeat("x", 1<<17+1)}, []string{"131073 bytes, more than 131072"}},
	} {
		t.Run(name, func(t *testing.T) {
			template, err := Read(folderOf(c.files))
			require.Nil(t, template)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	_, err := Parse("{{", fstest.MapFS{})
	require.ErrorContains(t, err, "chat: template: line 1: ")
}

func folderOf(files map[string]string) fstest.MapFS {
	folder := fstest.MapFS{}
	for name, text := range files {
		folder[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return folder
}
