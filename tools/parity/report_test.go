package parity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lorikeet/compute"
	"lorikeet/shaders"
)

const document = "../../docs/PARITY.md"

// report gathers what a variant measured on a device: a section of the document.
type report struct {
	variant   string
	heading   string
	made      string // how the fixtures were made
	operators []row
	models    []row
}

// row is a line of the section's table.
type row struct {
	name     string
	limit    limit
	measured map[string]float64
	last     string // CUDA's own error, or how many greedy tokens agree
}

func newReport(device compute.Info, variant string, style shaders.Style, f *fixtures) *report {
	heading := fmt.Sprintf("## %s, %s, %s in %v", device.Name, device.Driver, variant, style)
	return &report{variant: variant, heading: heading, made: f.made()}
}

var variantOf = regexp.MustCompile(`, (\w+) in \w+$`)

// made says how the fixtures were made.
func (f *fixtures) made() string {
	m := &f.manifest
	var versions []string
	for _, name := range []string{"cuda", "torch", "transformers", "peft"} {
		versions = append(versions, name+" "+m.Versions[name])
	}
	return fmt.Sprintf("Fixtures: %s; %s; seed %d; `%s`.", m.Device, strings.Join(versions, ", "), m.Seed, m.Command)
}

// operator adds the row of an operator; own is CUDA's own error in the type, 0 for float32.
func (r *report) operator(c *opCase, measured map[string]float64, own float64) {
	last := ""
	if own > 0 {
		last = number(own)
	}
	r.operators = append(r.operators, row{c.name, c.limits.of(r.variant), measured, last})
}

// model adds the row of a model with an adapter.
func (r *report) model(name string, limit limit, measured map[string]float64, equal, tokens int) {
	r.models = append(r.models, row{name, limit, measured, fmt.Sprintf("%d of %d tokens", equal, tokens)})
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 2, 64) }

// cell is a limit or an error; a case may have none under a label.
func cell(values map[string]float64, label string) string {
	if v, ok := values[label]; ok {
		return number(v)
	}
	return ""
}

func (r *row) line() string {
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", r.name,
		cell(r.limit, inType), cell(r.measured, inType), cell(r.limit, inFloat32), cell(r.measured, inFloat32), r.last)
}

const introduction = `# Parity with CUDA

Written by ` + "`go test ./tools/parity -update`" + `; a plain run checks that every case has its row here and passes its limit.

Each case ran on CUDA with PyTorch, transformers and PEFT twice: in the case's own type ("cuda"), and in float32 from the same
rounded inputs ("cuda f32"). The error of an operator is ‖ours - theirs‖ / ‖theirs‖; "CUDA's own" is that of CUDA in the type
against CUDA in float32. The error of a sampling case also covers by how much a drawn token's exponential clock, run at CUDA's
probability, rings later than the first one. The error of a model is the largest difference of a log probability over a prompt of
37 tokens and 16 greedy steps; its last column counts the greedy tokens that agree before the first one whose lead over the
next best token is smaller than the error.

%s

`

const header = `| case | limit, cuda | error | limit, cuda f32 | error | CUDA's own, or tokens |
|---|---|---|---|---|---|
`

func (r *report) section() string {
	var b strings.Builder
	b.WriteString(r.heading + "\n\n" + header)
	for _, line := range append(r.operators, r.models...) {
		b.WriteString(line.line() + "\n")
	}
	return b.String()
}

var headings = regexp.MustCompile(`(?m)^## `)

// live is the part of the document that make parity-live writes.
var live = regexp.MustCompile(`(?s)<!-- live parity: begin -->.*<!-- live parity: end -->\n`)

// sections cuts a document before its headings; the first piece is the introduction. The live part is left out.
func sections(text string) []string {
	var list []string
	text = live.ReplaceAllString(text, "")
	at := 0
	for _, m := range headings.FindAllStringIndex(text, -1) {
		list = append(list, strings.TrimSpace(text[at:m[0]])+"\n")
		at = m[0]
	}
	return append(list, strings.TrimSpace(text[at:])+"\n")
}

// merge is the document with this report's section in the place of an older one of the same device and variant. Sections
// that were measured with other fixtures go; the live part, last, stays.
func (r *report) merge(old string) string {
	intro := fmt.Sprintf(introduction, r.made)
	list := []string{strings.TrimSpace(intro) + "\n"}
	found := false
	if strings.Contains(old, r.made) {
		for _, s := range sections(old)[1:] {
			if strings.HasPrefix(s, r.heading+"\n") {
				s, found = r.section(), true
			}
			list = append(list, s)
		}
	}
	if !found {
		list = append(list, r.section())
	}
	if part := live.FindString(old); part != "" {
		list = append(list, part)
	}
	return strings.Join(list, "\n")
}

// write puts the section into the document.
func (r *report) write() error {
	old, err := os.ReadFile(document)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(document, []byte(r.merge(string(old))), 0o644)
}

// unmeasured stands for the error of a case that is newer than the last run on a device which is not at hand.
const unmeasured = "not measured"

// checkDocument checks that the document belongs to the fixtures and that each of its sections has a row per case, with
// the case's limit and an error within it. Some sections have the models as well. A case may be unmeasured on some devices,
// but not on all.
func checkDocument(text string, f *fixtures, t *table, list []opCase) error {
	pieces := sections(text)
	if !strings.Contains(pieces[0], f.made()) {
		return fmt.Errorf("docs/PARITY.md was measured with other fixtures than these (%s): run with -update", f.made())
	}
	withModels, open := 0, map[string]bool{}
	for _, s := range pieces[1:] {
		heading, _, _ := strings.Cut(strings.TrimPrefix(s, "## "), "\n")
		variant := variantOf.FindStringSubmatch(heading)
		if variant == nil {
			return fmt.Errorf("docs/PARITY.md: %q does not name a variant: run with -update", heading)
		}
		expected := operatorRows(list, variant[1])
		if models := t.modelRows(variant[1]); strings.Contains(s, "\n| "+models[0].name+" |") {
			expected = append(expected, models...)
			withModels++
		}
		for _, want := range expected {
			if _, known := open[want.name]; !known {
				open[want.name] = true
			}
		}
		if err := checkSection(s, expected, open); err != nil {
			return fmt.Errorf("docs/PARITY.md: %s: %w: run with -update", heading, err)
		}
	}
	for name, stillOpen := range open {
		if stillOpen {
			return fmt.Errorf("docs/PARITY.md: %q was measured on no device: run with -update", name)
		}
	}
	if withModels == 0 {
		return errors.New("docs/PARITY.md has no section with models: run with -update")
	}
	return nil
}

// checkSection closes the open cases that the section has an error of.
func checkSection(text string, expected []row, open map[string]bool) error {
	found := map[string][]string{}
	for _, line := range strings.Split(text, "\n") {
		if cells := strings.Split(line, " | "); len(cells) == 6 && !strings.HasPrefix(line, "| case ") {
			found[strings.TrimPrefix(cells[0], "| ")] = cells[1:]
		}
	}
	for _, want := range expected {
		cells, ok := found[want.name]
		if !ok {
			return fmt.Errorf("no row for %q", want.name)
		}
		delete(found, want.name)
		for i, label := range []string{inType, inFloat32} {
			limit, ok := want.limit[label]
			if !ok {
				continue
			}
			if cells[2*i+1] == unmeasured && cells[2*i] == number(limit) {
				continue
			}
			open[want.name] = false
			measured, err := strconv.ParseFloat(cells[2*i+1], 64)
			if cells[2*i] != number(limit) || err != nil || !(measured <= limit*1.005) { // as far as two digits tell
				return fmt.Errorf("%q: limit %s and error %s under %q, the table's limit is %s", want.name, cells[2*i], cells[2*i+1], label, number(limit))
			}
		}
	}
	if len(found) > 0 {
		var names []string
		for name := range found {
			names = append(names, name)
		}
		return fmt.Errorf("rows for cases that are not in the table: %q", slices.Sorted(slices.Values(names)))
	}
	return nil
}

// operatorRows and modelRows are the rows that sections of a variant have to have.
func operatorRows(list []opCase, variant string) []row {
	var rows []row
	for _, c := range list {
		rows = append(rows, row{name: c.name, limit: c.limits.of(variant)})
	}
	return rows
}

func (t *table) modelRows(variant string) []row {
	var rows []row
	for _, m := range t.Models {
		for _, name := range t.served(m) {
			rows = append(rows, row{name: m.Name + "/" + name, limit: m.limits().of(variant)})
		}
	}
	return rows
}

const baseName = "base"

func (t *table) modelCases() int {
	n := 0
	for _, m := range t.Models {
		n += len(t.served(m))
	}
	return n
}
