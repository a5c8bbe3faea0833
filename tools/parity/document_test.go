package parity

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/shaders"
)

// What the documents of the test are about.
var (
	documentCases = []opCase{
		{name: "a/f32", limits: limits{all: limit{inType: 1e-6}}},
		{name: "a/bf16", limits: limits{limit{inType: 5e-3, inFloat32: 2e-6}, limit{inType: 5e-3, inFloat32: 4e-3}}},
	}
	documentTable    = &table{Models: []modelEntry{{Name: "m", Limit: limit{inType: 0.1}}}}
	documentFixtures = &fixtures{manifest: manifest{Seed: 1, Device: "GPU", Command: "make", Versions: map[string]string{"torch": "2"}}}
)

// documentReport is what a run on a device reports, with or without the model.
func documentReport(device, variant string, models bool) *report {
	r := newReport(compute.Info{Name: device, Driver: "driver 1"}, variant, shaders.Groups, documentFixtures)
	r.operator(&documentCases[0], map[string]float64{inType: 2.5e-7}, 0)
	r.operator(&documentCases[1], map[string]float64{inType: 1e-3, inFloat32: 1e-6}, 2e-3)
	if models {
		r.model("m/base", documentTable.Models[0].Limit, map[string]float64{inType: 0.04}, 16, 16)
	}
	return r
}

func TestDocument(t *testing.T) {
	check := func(text string) error {
		return checkDocument(text, documentFixtures, documentTable, documentCases)
	}
	text := documentReport("first", "fma", true).merge("")
	require.NoError(t, check(text))
	require.Contains(t, text, "\n| a/bf16 | 0.005 | 0.001 | 2e-06 | 1e-06 | 0.002 |\n")
	require.Contains(t, text, "\n| m/base | 0.1 | 0.04 |  |  | 16 of 16 tokens |\n")

	both := documentReport("second", "coop", false).merge(text)
	require.NoError(t, check(both))
	require.Len(t, sections(both), 3)
	require.Equal(t, both, documentReport("first", "fma", true).merge(both), "a section is replaced, the others stay")
	require.Equal(t, both, documentReport("second", "coop", false).merge(both))

	part := "<!-- live parity: begin -->\n## Live: GPU\n\n| a | 1 | 2 (2x) |\n<!-- live parity: end -->\n"
	require.NoError(t, check(both+"\n"+part))
	require.Equal(t, both+"\n"+part, documentReport("first", "fma", true).merge(both+"\n"+part), "the live part stays")

	open := strings.Replace(both, "| m/base | 0.1 | 0.04 |  |  | 16 of 16 tokens |", "| m/base | 0.1 | not measured |  |  |  |", 1)
	require.ErrorContains(t, check(open), `"m/base" was measured on no device`)
	require.NoError(t, check(documentReport("second", "coop", true).merge(open)))

	other := documentReport("first", "fma", true)
	other.made = "Fixtures: newer."
	require.Len(t, sections(other.merge(both)), 2, "what was measured with other fixtures goes")

	for _, c := range []struct{ name, old, new, want string }{
		{"other fixtures", "GPU", "another GPU", "other fixtures"},
		{"no row", "| a/f32 |", "| b/f32 |", `no row for "a/f32"`},
		{"one row too many", "| a/f32 |", "| b | 1 | 1 | 1 | 1 | |\n| a/f32 |", "not in the table"},
		{"another limit", "| 0.005 |", "| 0.006 |", "the table's limit is 0.005"},
		{"above the limit", "| 0.04 |", "| 0.11 |", `"m/base"`},
		{"another variant", "fma in", "coop in", "the table's limit is 0.004"},
		{"no variant", "fma in", "fma or", "does not name a variant"},
		{"no number", "| 0.04 |", "| NaN |", `"m/base"`},
		{"no models", "| m/base | 0.1 | 0.04 |  |  | 16 of 16 tokens |\n", "", "no section with models"},
	} {
		require.ErrorContains(t, check(strings.Replace(text, c.old, c.new, 1)), c.want, c.name)
	}
}
