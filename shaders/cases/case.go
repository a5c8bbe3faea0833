// Package cases is the table of kernel runs that tests and benches share: each case fills buffers with fresh random
// inputs and poisoned outputs, gives the dispatches to run, and compares what they left with the float64 twin.
package cases

import (
	"cmp"
	"fmt"
	"slices"

	"lorikeet/compute"
	"lorikeet/shaders"
)

// Case is one row of the table.
type Case struct {
	Name  string  // the stem and what is special about the row: "shrink/bf16/mixed ranks"
	Stem  string  // the kernel it is about
	Limit float64 // largest relative error ‖out-ref‖/‖ref‖ that passes
	Build func(s *Setup) Run
	Split bool // decode attention over split keys, which style Lanes does not have
	Flows bool // a stage that flows, which only products by matrices do
	// Elsewhere is where products by matrices never run like this: tiles meet the shrink in a stage that does not flow, or deltas of more rows
	// are in the outputs than those end fast.
	Elsewhere bool
	// Ends is the type, which products by matrices have to take, of a product of many rows that ends its own outputs; F32 elsewhere.
	Ends shaders.Type
}

// Styles are those in which the case's kernels differ.
func (c Case) Styles() []shaders.Style {
	switch c.Stem {
	case "fused":
		if c.Flows || c.Ends != shaders.F32 {
			return []shaders.Style{shaders.Matrices}
		}
		if c.Elsewhere {
			return []shaders.Style{shaders.Groups, shaders.Lanes}
		}
		return []shaders.Style{shaders.Groups, shaders.Lanes, shaders.Matrices}
	case "project_few", "project_many":
		return []shaders.Style{shaders.Groups, shaders.Lanes, shaders.Matrices}
	case "attend_prefill":
		return []shaders.Style{shaders.Groups, shaders.Matrices}
	case "shrink":
		return []shaders.Style{shaders.Groups, shaders.Lanes, shaders.Matrices}
	case "attend_decode", "sample":
		if !c.Split {
			return []shaders.Style{shaders.Groups, shaders.Lanes}
		}
	}
	return []shaders.Style{shaders.Groups}
}

// Run is a built case.
type Run struct {
	// Before runs first, a stage each.
	Before []compute.Dispatch
	// Dispatches run in order, each after the one before it has finished.
	Dispatches []compute.Dispatch
	// Together says that they run in one stage instead, in any order or side by side.
	Together bool
	// Check downloads the outputs and returns the worst relative error against the twin; +Inf where a value that has
	// to be exact (an index, a pad column) is wrong.
	Check func() (float64, error)
	// Limit is the largest error that passes, where it is not the case's: Prepare puts that here where Build leaves 0.
	Limit float64
}

// Prepare builds the case on a device from a seed. The caller closes the setup after the last use of the run.
func (c Case) Prepare(device *compute.Device, kernels *shaders.Kernels, seed uint64) (Run, *Setup, error) {
	s := newSetup(device, kernels, seed)
	run := c.Build(s)
	if s.err != nil {
		s.Close()
		return Run{}, nil, fmt.Errorf("cases: build %q: %w", c.Name, s.err)
	}
	run.Limit = cmp.Or(run.Limit, c.Limit)
	return run, s, nil
}

// All returns every case, kernel by kernel.
func All() []Case {
	return slices.Concat(
		embedCases(),
		shrinkCases(),
		expandCases(),
		ropeStoreCases(),
		residualCases(),
		siluMulCases(),
		randomFillCases(),
		gatherRowsCases(),
		projectCases(),
		fusedCases(),
		attendDecodeCases(),
		attendPrefillCases(),
		adjustCases(),
		sampleCases(),
	)
}
