package parity

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"lorikeet/shaders"
)

// table is cases.json.
type table struct {
	Version   int                          `json:"version"`
	Seed      int64                        `json:"seed"`
	Operators []map[string]json.RawMessage `json:"operators"`
	Models    []modelEntry                 `json:"models"`
	Adapters  []adapterEntry               `json:"adapters"`
}

// modelEntry is a model; the generator alone reads its shape.
type modelEntry struct {
	Name     string   `json:"model"`
	Type     string   `json:"type"`
	Adapters []string `json:"adapters"` // nil: all
	Limit    limit    `json:"limit"`
	Coop     limit    `json:"limit coop"`
}

func (m *modelEntry) limits() limits { return limits{m.Limit, m.Coop} }

// adapterEntry is an adapter that every model has, or those that name it; the generator alone reads how it is made.
type adapterEntry struct {
	Name string `json:"adapter"`
}

// limit is the largest errors that pass, by what is compared with: "cuda" computed in the case's type, "cuda f32" in
// float32 from the same inputs.
type limit map[string]float64

const inType, inFloat32 = "cuda", "cuda f32"

// limits are those of a case: of all variants, or of all but coop, which rounds activations to the type as CUDA does.
type limits struct{ all, coop limit }

func (l limits) of(variant string) limit {
	if variant == "coop" && l.coop != nil {
		return l.coop
	}
	return l.all
}

func readTable() (*table, error) {
	text, err := os.ReadFile("cases.json")
	if err != nil {
		return nil, err
	}
	var t table
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("cases.json: %w", err)
	}
	return &t, nil
}

// opCase is one combination of an operator's axes.
type opCase struct {
	name     string
	operator string
	kind     shaders.Type
	limits   limits
	given    map[string]json.RawMessage // what the table says of it
}

// labels are what the case is compared with.
func (c *opCase) labels() []string {
	if c.kind == shaders.F32 {
		return []string{inType}
	}
	return []string{inType, inFloat32}
}

var typesByName = map[string]shaders.Type{"f32": shaders.F32, "f16": shaders.F16, "bf16": shaders.BF16}

// operatorCases lists every combination of each entry's lists, named like in table.py.
func (t *table) operatorCases() ([]opCase, error) {
	var list []opCase
	for _, entry := range t.Operators {
		cases, err := combine(entry)
		if err != nil {
			return nil, fmt.Errorf("cases.json: %s: %w", entry["operator"], err)
		}
		list = append(list, cases...)
	}
	return list, nil
}

func combine(entry map[string]json.RawMessage) ([]opCase, error) {
	var all, coop map[string]limit
	if err := json.Unmarshal(entry["limit"], &all); err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	if text, ok := entry["limit coop"]; ok {
		if err := json.Unmarshal(text, &coop); err != nil {
			return nil, fmt.Errorf("limit coop: %w", err)
		}
	}
	fixed := map[string]json.RawMessage{}
	var axes []string
	for key, value := range entry {
		switch {
		case key == "limit" || key == "limit coop" || key == "type":
		case value[0] == '[':
			axes = append(axes, key)
		default:
			fixed[key] = value
		}
	}
	slices.Sort(axes)
	var list []opCase
	for _, kind := range elements(entry["type"]) {
		first := opCase{operator: text(entry["operator"]), kind: typesByName[text(kind)], given: fixed}
		first.limits = limits{all[text(kind)], coop[text(kind)]}
		first.name = first.operator + "/" + text(kind)
		group := []opCase{first.with("type", kind)}
		for _, axis := range axes {
			var next []opCase
			for _, c := range group {
				for _, value := range elements(entry[axis]) {
					d := c.with(axis, value)
					d.name += "/" + axis + " " + text(value)
					next = append(next, d)
				}
			}
			group = next
		}
		list = append(list, group...)
	}
	return list, nil
}

// with is the case with one more value.
func (c opCase) with(key string, value json.RawMessage) opCase {
	given := map[string]json.RawMessage{key: value}
	for k, v := range c.given {
		given[k] = v
	}
	c.given = given
	return c
}

// elements are those of a list, or the value itself.
func elements(value json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		return []json.RawMessage{value}
	}
	return list
}

// text is a value as it stands in a name.
func text(value json.RawMessage) string {
	if s, err := strconv.Unquote(string(value)); err == nil {
		return s
	}
	return strings.TrimSpace(string(value))
}

// served lists the base and the adapters of a model.
func (t *table) served(m modelEntry) []string {
	names := []string{baseName}
	for _, a := range t.Adapters {
		if m.Adapters == nil || slices.Contains(m.Adapters, a.Name) {
			names = append(names, a.Name)
		}
	}
	return names
}
