package chat

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rendered is what Jinja makes of a template, as testdata/expected.py writes it: a text, the message of raise_exception, or
// another failure.
type rendered struct {
	Text   *string
	Raised *string
	Failed bool
}

// conversationFile is an entry of testdata/conversations.json.
type conversationFile struct {
	Messages            []json.RawMessage
	Variables           map[string]json.RawMessage
	AddGenerationPrompt bool `json:"add_generation_prompt"`
}

type snippetFile struct {
	Variables         map[string]json.RawMessage
	Snippets, Refused []string
}

type expectedFile struct {
	Templates map[string]map[string]rendered
	Snippets  []rendered
	Refused   []bool // whether Jinja renders it
}

var testFolder = os.DirFS("testdata")

func readTestData[T any](t testing.TB, name string) (data T) {
	t.Helper()
	require.NoError(t, readOptional(testFolder, name, &data))
	return data
}

// testTemplate parses a template of testdata with the clock that expected.py has.
func testTemplate(t *testing.T, text string) (*Template, error) {
	t.Helper()
	template, err := Parse(text, testFolder)
	if template != nil {
		template.now = func() time.Time { return time.Date(2024, 3, 5, 7, 8, 9, 0, time.UTC) }
	}
	return template, err
}

// requireRendered fails unless the template does what Jinja does.
func requireRendered(t *testing.T, want rendered, text string, err error) {
	t.Helper()
	if want.Text != nil {
		require.NoError(t, err)
		require.Equal(t, *want.Text, text)
		return
	}
	require.Error(t, err, "rendered %q", text)
	require.Empty(t, text)
	if want.Raised != nil {
		require.EqualError(t, err, *want.Raised)
	}
}

func TestTemplatesEqualJinja(t *testing.T) {
	expected := readTestData[expectedFile](t, "expected.json")
	conversations := readTestData[map[string]conversationFile](t, "conversations.json")
	require.Len(t, expected.Templates, 5)
	for name, rows := range expected.Templates {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		template, err := testTemplate(t, string(text))
		require.NoError(t, err)
		require.Len(t, rows, len(conversations))
		for conversation, want := range rows {
			t.Run(name+"/"+conversation, func(t *testing.T) {
				got, err := template.Render(Conversation(conversations[conversation]))
				requireRendered(t, want, got, err)
				if err != nil {
					require.IsType(t, &Error{}, err)
				}
			})
		}
	}
}

// renderSnippet parses and renders a template with the variables of snippets.json.
func renderSnippet(t *testing.T, text string, variables map[string]json.RawMessage) (string, error) {
	t.Helper()
	template, err := testTemplate(t, text)
	if err != nil {
		return "", err
	}
	return template.Render(Conversation{Variables: variables})
}

func TestTemplateSnippetsEqualJinja(t *testing.T) {
	expected, file := readTestData[expectedFile](t, "expected.json"), readTestData[snippetFile](t, "snippets.json")
	require.Len(t, expected.Snippets, len(file.Snippets))
	for i, snippet := range file.Snippets {
		t.Run(snippet, func(t *testing.T) {
			got, err := renderSnippet(t, snippet, file.Variables)
			requireRendered(t, expected.Snippets[i], got, err)
		})
	}
}

// What is not supported fails instead of printing something else than Jinja does.
func TestUnsupportedTemplatesFail(t *testing.T) {
	expected, file := readTestData[expectedFile](t, "expected.json"), readTestData[snippetFile](t, "snippets.json")
	require.Len(t, expected.Refused, len(file.Refused))
	for i, snippet := range file.Refused {
		t.Run(snippet, func(t *testing.T) {
			require.True(t, expected.Refused[i], "Jinja fails, too")
			got, err := renderSnippet(t, snippet, file.Variables)
			require.Error(t, err, "rendered %q", got)
		})
	}
}

func TestRenderIsConcurrent(t *testing.T) {
	text, err := os.ReadFile("testdata/tools.jinja")
	require.NoError(t, err)
	template, err := testTemplate(t, string(text))
	require.NoError(t, err)
	expected := readTestData[expectedFile](t, "expected.json").Templates["tools.jinja"]
	conversations := readTestData[map[string]conversationFile](t, "conversations.json")
	var group sync.WaitGroup
	for name, conversation := range conversations {
		for range 4 {
			group.Go(func() {
				got, err := template.Render(Conversation(conversation))
				if want := expected[name]; want.Text == nil && err == nil || want.Text != nil && *want.Text != got {
					t.Errorf("%s: got %q, %v", name, got, err)
				}
			})
		}
	}
	group.Wait()
}
