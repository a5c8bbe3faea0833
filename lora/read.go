package lora

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"lorikeet/model/checkpoint"
)

const (
	configFile = "adapter_config.json"
	maxJSON    = 1 << 20 // bytes of a JSON file
)

// Read reads a PEFT folder and converts its weights for the base. folder is
// what path names; with nil, path is a folder or the name of a repository in
// the local Hugging Face cache.
func Read(name, path string, folder fs.FS, base Base, limits Limits) (*Adapter, error) {
	sites, err := readFolder(name, path, folder, base, limits)
	if err != nil {
		return nil, err
	}
	return NewAdapter(name, path, base.Type, sites, base), nil
}

func readFolder(name, path string, folder fs.FS, base Base, limits Limits) ([]Weights, error) {
	folder, err := resolve(path, folder)
	if err != nil {
		return nil, refuse("lora: read %q: %w", path, err)
	}
	settings, err := readSettings(folder, base)
	if errors.Is(err, errDoRA) {
		return nil, refuseFeature(name, "DoRA adapters")
	}
	if err != nil {
		return nil, refuse("lora: read %q: %w", path, err)
	}
	if err := checkLimits(name, settings, base, limits); err != nil {
		return nil, err
	}
	adds, err := addsTokens(folder, base.Vocab)
	if err != nil {
		return nil, refuse("lora: read %q: %w", path, err)
	}
	if adds {
		return nil, refuseFeature(name, "adapters that add tokens to the vocabulary")
	}
	sites, err := readWeights(folder, base, limits, settings)
	if err != nil {
		return nil, refuse("lora: read %q: %w", path, err)
	}
	return sites, nil
}

// LimitsOf finds the smallest limits that take an adapter, from its config
// alone. path and folder are those of Read.
func LimitsOf(path string, folder fs.FS, base Base) (Limits, error) {
	folder, err := resolve(path, folder)
	if err != nil {
		return Limits{}, refuse("lora: read %q: %w", path, err)
	}
	settings, err := readSettings(folder, base)
	if err != nil {
		return Limits{}, refuse("lora: read %q: %w", path, err)
	}
	rank, targets := extent(settings, base)
	return Limits{rank, targets}, nil
}

func resolve(path string, folder fs.FS) (fs.FS, error) {
	if folder != nil {
		return folder, nil
	}
	place, err := checkpoint.ResolveFolder(path)
	if err != nil {
		return nil, err
	}
	return os.DirFS(place), nil
}

// readSettings reads the config: the setting of each [Base.Index], with rank 0
// where the module is not targeted.
func readSettings(folder fs.FS, base Base) ([]setting, error) {
	text, err := readFile(folder, configFile, maxJSON)
	if err != nil {
		return nil, err
	}
	settings, err := parseSettings(text, base)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", configFile, err)
	}
	return settings, nil
}

func parseSettings(text []byte, base Base) ([]setting, error) {
	c, err := parseConfig(text)
	if err != nil {
		return nil, err
	}
	r, err := newRules(c)
	if err != nil {
		return nil, err
	}
	settings := make([]setting, base.SitesPerSlot())
	targetsSome := false
	for i := range settings {
		layer, site := base.site(i)
		module := site.module(layer)
		targeted, err := r.targets(module)
		if err != nil {
			return nil, err
		}
		if !targeted {
			continue
		}
		targetsSome = true
		if settings[i], err = r.setting(module); err != nil {
			return nil, err
		}
	}
	if !targetsSome {
		return nil, errors.New("target_modules: no module of the base model is targeted")
	}
	_, targets := extent(settings, base)
	return settings, c.checkTargets(targets)
}

// extent is the largest rank and the sites of some settings.
func extent(settings []setting, base Base) (rank int, targets Targets) {
	for i, s := range settings {
		_, site := base.site(i)
		rank = max(rank, s.rank)
		targets[site] = targets[site] || s.rank > 0
	}
	return rank, targets
}

func checkLimits(name string, settings []setting, base Base, limits Limits) error {
	rank, targets := extent(settings, base)
	if rank > limits.MaxRank {
		return refuseFit(name, rank, fmt.Sprintf("the limit is %d", limits.MaxRank))
	}
	if missing := limits.Targets.missing(targets); len(missing) > 0 {
		return refuseFit(name, rank, "not included: "+strings.Join(missing, ", "))
	}
	return nil
}

// addsTokens says whether the adapter came with tokens that the base lacks.
func addsTokens(folder fs.FS, vocab int) (bool, error) {
	text, err := readFile(folder, "added_tokens.json", maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var ids map[string]int
	if err := json.Unmarshal(text, &ids); err != nil {
		return false, fmt.Errorf("added_tokens.json: %w", err)
	}
	for _, id := range ids {
		if id >= vocab {
			return true, nil
		}
	}
	return false, nil
}

// readFile reads a regular file of at most so many bytes.
func readFile(folder fs.FS, name string, most int64) ([]byte, error) {
	file, size, err := openFile(folder, name, most)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data := make([]byte, size)
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// openFile opens a regular file of at most so many bytes, and says how many it
// has.
func openFile(folder fs.FS, name string, most int64) (file fs.File, size int64, err error) {
	info, err := fs.Stat(folder, name) // first: opening a pipe waits for its writer
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: not a regular file", name)
	}
	if info.Size() > most {
		return nil, 0, fmt.Errorf("%s: %d bytes, more than the %d that an adapter for this model can need", name, info.Size(), most)
	}
	file, err = folder.Open(name)
	return file, info.Size(), err
}
