package lora

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// matchTime bounds one match of an expression that came with an adapter: some
// expressions take exponential time.
const matchTime = 200 * time.Millisecond

// The rest of this file says which modules a config targets, and with which
// rank and alpha, following check_target_module_exists and get_pattern_key of
// PEFT, whose rules are easy to get subtly wrong:
//
//   - a string must match the whole module name, a list entry must be the name or
//     end it after a dot, "all-linear" is all linear modules but the output head;
//   - an entry that is the whole name targets it in spite of layers_to_transform;
//   - a rank or alpha pattern must match the whole name or what follows some dot.

// rules are a config with its expressions compiled.
type rules struct {
	config       *config
	target       matcher
	exclude      matcher
	layerNumbers []*regexp2.Regexp // capture the layer in a module name
	rankKeys     []*regexp2.Regexp
	alphaKeys    []*regexp2.Regexp
}

// setting is what a config says about a module it targets.
type setting struct {
	rank  int
	scale float32
	bias  bool // a bias may stand beside B
}

func newRules(c *config) (*rules, error) {
	r := &rules{config: c}
	var err error
	targets := c.targets
	if targets.allLinear() {
		targets = selector{list: siteNames[:Sites]}
	}
	if r.target, err = newMatcher(targets); err != nil {
		return nil, fmt.Errorf("target_modules: %w", err)
	}
	if r.exclude, err = newMatcher(c.exclude); err != nil {
		return nil, fmt.Errorf("exclude_modules: %w", err)
	}
	if r.layerNumbers, err = layerNumbers(c.layersUnder); err != nil {
		return nil, fmt.Errorf("layers_pattern: %w", err)
	}
	if r.rankKeys, err = c.rankPattern.compile(); err != nil {
		return nil, fmt.Errorf("rank_pattern: %w", err)
	}
	if r.alphaKeys, err = c.alphaPattern.compile(); err != nil {
		return nil, fmt.Errorf("alpha_pattern: %w", err)
	}
	return r, nil
}

// targets says whether the config targets a module.
func (r *rules) targets(module string) (bool, error) {
	excluded, err := r.exclude.match(module)
	if err != nil {
		return false, fmt.Errorf("exclude_modules: %w", err)
	}
	targeted, err := r.target.match(module)
	if err != nil {
		return false, fmt.Errorf("target_modules: %w", err)
	}
	if excluded || !targeted {
		return false, nil
	}
	if len(r.config.layers) == 0 || slices.Contains(r.config.targets.list, module) {
		return true, nil
	}
	for _, e := range r.layerNumbers {
		m, err := e.FindStringMatch(module)
		if err != nil {
			return false, fmt.Errorf("layers_pattern: %w", err)
		}
		if m != nil {
			layer, err := strconv.Atoi(m.GroupByNumber(1).String())
			return err == nil && slices.Contains(r.config.layers, layer), err
		}
	}
	return false, nil
}

// setting is the rank and scale of a module.
func (r *rules) setting(module string) (setting, error) {
	rank, err := r.config.rankPattern.value(r.rankKeys, module, float64(r.config.rank))
	if err != nil {
		return setting{}, fmt.Errorf("rank_pattern: %w", err)
	}
	alpha, err := r.config.alphaPattern.value(r.alphaKeys, module, r.config.alpha)
	if err != nil {
		return setting{}, fmt.Errorf("alpha_pattern: %w", err)
	}
	scale := float32(alpha / rank)
	if r.config.rsLoRA {
		scale = float32(alpha / math.Sqrt(rank))
	}
	if math.IsInf(float64(scale), 0) {
		return setting{}, fmt.Errorf("lora_alpha: %v is too large", alpha)
	}
	return setting{rank: int(rank), scale: scale, bias: r.config.bias}, nil
}

// value is what the first matching key says.
func (p pattern) value(keys []*regexp2.Regexp, module string, otherwise float64) (float64, error) {
	for i, key := range keys {
		if ok, err := key.MatchString(module); err != nil || ok {
			return p[i].value, err
		}
	}
	return otherwise, nil
}

func (p pattern) compile() ([]*regexp2.Regexp, error) {
	var keys []*regexp2.Regexp
	for _, o := range p {
		e, err := compile(`(.*\.)?(` + o.key + `)$`)
		if err != nil {
			return nil, err
		}
		keys = append(keys, e)
	}
	return keys, nil
}

// layerNumbers are the expressions that find a layer's number in a module name;
// the first that matches counts.
func layerNumbers(under selector) ([]*regexp2.Regexp, error) {
	parents := under.list
	if under.isWord {
		parents = []string{under.word}
	}
	if under.empty() {
		parents = []string{`[^.]*`}
	}
	var expressions []*regexp2.Regexp
	for _, parent := range parents {
		e, err := compile(`.*?\.` + parent + `\.(\d+)\.`)
		if err != nil {
			return nil, err
		}
		expressions = append(expressions, e)
	}
	return expressions, nil
}

// matcher matches module names with a selector.
type matcher struct {
	word *regexp2.Regexp // nil for a list
	list []string
}

func newMatcher(s selector) (m matcher, err error) {
	if !s.isWord {
		return matcher{list: s.list}, nil
	}
	m.word, err = compile(`(?:` + s.word + `)\z`)
	return m, err
}

func (m *matcher) match(module string) (bool, error) {
	if m.word != nil {
		return m.word.MatchString(module)
	}
	return slices.ContainsFunc(m.list, func(name string) bool {
		return module == name || strings.HasSuffix(module, "."+name)
	}), nil
}

// compile compiles an expression that is to match from the beginning. Python's
// expressions need backtracking (lookahead, for one), which Go's lack.
func compile(expression string) (*regexp2.Regexp, error) {
	e, err := regexp2.Compile(`\A(?:`+expression+`)`, regexp2.RE2)
	if err != nil {
		return nil, err
	}
	e.MatchTimeout = matchTime
	return e, nil
}
