// Command live runs the kernels on the inputs that live.py drew, and says how far each result is from float64's.
//
//	live -cases FOLDER -out errors.json
//
// It is a part of `make parity-live`; live.py holds the errors against PyTorch's on the same inputs.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
)

func main() {
	folder := flag.String("cases", "", "folder that live.py wrote")
	device := flag.String("device", "", "device index or part of its name")
	out := flag.String("out", "errors.json", "file to write")
	flag.Parse()
	if err := run(*folder, *device, *out); err != nil {
		fmt.Fprintln(os.Stderr, "live:", err)
		os.Exit(1)
	}
}

// answer is what live.py reads: errors by variant, case and output.
type answer struct {
	Device   string                                   `json:"device"`
	Driver   string                                   `json:"driver"`
	Variants map[string]map[string]map[string]float64 `json:"variants"`
}

func run(folder, name, out string) error {
	list, err := readCases(folder)
	if err != nil {
		return err
	}
	device, err := compute.Open(compute.Options{Device: name})
	if err != nil {
		return err
	}
	defer device.Close()
	info := device.Info()
	a := answer{Device: info.Name, Driver: info.Driver, Variants: map[string]map[string]map[string]float64{}}
	for _, variant := range info.Variants() {
		styles := shaders.Styles(info, variant.Name)
		if len(styles) == 0 {
			continue
		}
		kernels, errors := shaders.NewStyle(device, styles[0]), map[string]map[string]float64{}
		for i := range list {
			if errors[list[i].Name], err = measure(device, kernels, &list[i]); err != nil {
				return fmt.Errorf("%s, %s: %w", list[i].Name, variant.Name, err)
			}
		}
		a.Variants[variant.Name] = errors
	}
	text, err := json.MarshalIndent(a, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, text, 0o644)
}

func readCases(folder string) ([]liveCase, error) {
	text, err := os.ReadFile(filepath.Join(folder, "cases.json"))
	if err != nil {
		return nil, err
	}
	var list []liveCase
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("cases.json: %w", err)
	}
	for i := range list {
		list[i].folder = folder
	}
	return list, nil
}

// operators build the trials, by the names that operators.py gives them.
var operators = map[string]func(*trial){
	"project": (*trial).project, "rmsnorm": (*trial).rmsnorm, "silu_mul": (*trial).siluMul, "lora": (*trial).lora,
	"rope": (*trial).rope, "prefill": (*trial).prefill, "decode": (*trial).decode,
}

// measure runs a case and returns its errors by output.
func measure(d *compute.Device, k *shaders.Kernels, c *liveCase) (map[string]float64, error) {
	build, ok := operators[c.Operator]
	if !ok {
		return nil, fmt.Errorf("no operator %q", c.Operator)
	}
	t := &trial{liveCase: c}
	if err := t.open(); err != nil {
		return nil, err
	}
	defer t.file.Close()
	_, setup, err := cases.Case{Name: c.Name, Build: func(s *cases.Setup) cases.Run {
		t.Setup = s
		build(t)
		return cases.Run{}
	}}.Prepare(d, k, 0)
	if err != nil {
		return nil, err
	}
	defer setup.Close()
	if t.err != nil {
		return nil, t.err
	}
	if err := execute(d, c.Name, t.dispatches); err != nil {
		return nil, err
	}
	return t.compare()
}

// execute runs dispatches one after the other.
func execute(d *compute.Device, name string, dispatches []compute.Dispatch) error {
	var stages []compute.Stage
	for _, dispatch := range dispatches {
		stages = append(stages, compute.Stage{Label: dispatch.Label, Dispatches: []compute.Dispatch{dispatch}})
	}
	program, err := d.Record(name, stages, nil)
	if err != nil {
		return err
	}
	defer program.Release()
	ticket, err := d.Submit(program)
	if err != nil {
		return err
	}
	return d.Wait(ticket)
}
