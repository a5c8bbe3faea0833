package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// options is the command line.
type options struct {
	url, name   string
	plan        plan
	folders     []string // absolute: the server has a working folder of its own
	registered  bool
	check       bool
	rounding    float64
	soak        time.Duration
	json, plots string

	table bool
	rest  []string // arguments that are not flags
	await time.Duration

	make, rank int
	model      bool
	shape, out string
}

// parseOptions reads the command line. What follows the flags is adapter folders, or the reports of -table.
func parseOptions(args []string) (*options, error) {
	o := new(options)
	p := &o.plan
	f := flag.NewFlagSet("servebench", flag.ContinueOnError)
	f.StringVar(&o.url, "url", "http://127.0.0.1:30000", "server")
	f.StringVar(&o.name, "name", "run", "title of the run in tables")
	f.Uint64Var(&p.seed, "seed", 1, "seed of everything drawn; the same seed makes the same trace")
	f.IntVar(&p.requests, "requests", 64, "requests of a trace")
	f.IntVar(&p.adapters, "adapters", 0, "names to register over the FOLDERs given as arguments; 0 asks the base model only")
	f.BoolVar(&o.registered, "registered", false, "an earlier run has registered the names: the server may have evicted some, and knows them still")
	popularity := f.String("popularity", "uniform", "zipf:S, power:A, uniform, identical or distinct")
	f.Float64Var(&p.base, "base", 0, "share of requests to the base model")
	arrivals := f.String("arrivals", "closed:1", "poisson:RATE, bursty:RATE,CV, closed:STREAMS or saturation")
	input := f.String("input", "32", "tokens of a prompt, N or LEAST-MOST")
	output := f.String("output", "64", "tokens of an answer, N or LEAST-MOST")
	f.IntVar(&p.pool, "pool", 0, "prompts to draw; 0 draws one for each request")
	f.IntVar(&p.prefix, "prefix", 0, "tokens with which all drawn prompts begin")
	f.IntVar(&p.vocab, "vocab", 1000, "drawn token ids are below it")
	prompts := f.String("prompts", "", "file with prompts to choose from: {\"cases\":[{\"prompt_ids\":[..]}]}")
	f.Float64Var(&p.leave, "leave", 0, "share of clients that leave before their answer is whole")
	f.IntVar(&p.swapEvery, "swap-every", 0, "requests between two swaps of an adapter, half of them in one call, half by an unload and a load, then a first token; 0: none")
	f.IntVar(&p.swapFrom, "swap-from", 0, "number of the first adapter to swap: with those that are asked for below it, no swap waits for a request")
	f.BoolVar(&o.check, "check", false, "compare every answer with its solo answer")
	f.Float64Var(&o.rounding, "rounding", 0.15, "difference of log probabilities that company may turn round")
	f.DurationVar(&o.soak, "soak", 0, "play further traces until so much time has passed, and watch the memory of the server, which needs --enable-metrics")
	f.StringVar(&o.json, "json", "", "write the report to this file")
	f.StringVar(&o.plots, "plots", "", "write plots into this folder")
	f.BoolVar(&o.table, "table", false, "print the reports in the files given as arguments, one a line")
	f.DurationVar(&o.await, "await", 0, "wait at most so long until the server is ready, and say how long it took")
	f.BoolVar(&o.model, "model", false, "write a checkpoint")
	f.IntVar(&o.make, "make", 0, "adapters to write")
	f.IntVar(&o.rank, "rank", 16, "their rank, on all seven projections")
	f.StringVar(&o.shape, "shape", "testdata/shapes/llama-3.1-8b", "folder whose config.json they fit")
	f.StringVar(&o.out, "out", "", "folder to write them into")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	o.rest = f.Args()
	var errs [6]error
	p.popularity, errs[0] = parsePopularity(*popularity)
	p.arrivals, errs[1] = parseArrivals(*arrivals)
	p.input, errs[2] = parseLengths(*input)
	p.output, errs[3] = parseLengths(*output)
	p.prompts, errs[4] = readPrompts(*prompts)
	errs[5] = o.finish()
	return o, errors.Join(errs[:]...)
}

// finish checks what belongs together.
func (o *options) finish() error {
	switch p := &o.plan; {
	case o.table || o.await > 0:
		return nil
	case (o.model || o.make > 0) && o.out == "":
		return errors.New("-make and -model need -out")
	case p.swapFrom < 0 || p.swapEvery > 0 && p.swapFrom >= p.adapters:
		return errors.New("-swap-from must be below -adapters")
	case p.requests < 1 || p.adapters < 0 || p.pool < 0 || p.prefix < 0 || p.vocab < 1 || p.swapEvery < 0:
		return errors.New("-requests and -vocab must be at least 1, other numbers at least 0")
	case p.adapters > 0 && len(o.rest) == 0:
		return errors.New("-adapters needs folders as arguments")
	case o.registered && o.check:
		return errors.New("-check needs to register the names, or it does not know what they stand for")
	case o.check && p.pool == 0 && p.prompts == nil:
		return errors.New("-check needs -pool or -prompts: with a prompt for each request, nothing is asked twice")
	}
	for _, folder := range o.rest {
		path, err := filepath.Abs(folder)
		if err != nil {
			return err
		}
		o.folders = append(o.folders, path)
	}
	return nil
}

// readPrompts reads a file such as testdata/demo/expected.json; no path is no prompts.
func readPrompts(path string) ([][]int32, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Cases []struct {
			IDs []int32 `json:"prompt_ids"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var prompts [][]int32
	for _, c := range file.Cases {
		prompts = append(prompts, c.IDs)
	}
	if len(prompts) == 0 {
		return nil, fmt.Errorf("%s: no cases with prompt_ids", path)
	}
	return prompts, nil
}
