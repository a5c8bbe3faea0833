package compute

import (
	"errors"
	"fmt"

	vk "github.com/vulkan-go/vulkan"

	"lorikeet/compute/internal/native"
)

// MaxPush is the most bytes of push constants of a dispatch: what every Vulkan device allows.
const MaxPush = 128

// Indirect says where the device finds a dispatch's group counts: three uint32 at Offset, a multiple of 4. They must be written,
// by the host or an earlier program, before the program that reads them starts.
type Indirect struct {
	Buffer *Buffer
	Offset int64
}

// Dispatch is one run of a kernel.
type Dispatch struct {
	Label    string
	Kernel   *Kernel
	Push     []byte    // push constants, at most MaxPush bytes, a multiple of 4; copied by Record
	Groups   [3]uint32 // workgroups along x, y, z
	Indirect *Indirect // when set, the counts are read from here instead
	Bytes    int64     // bytes of memory the dispatch cannot avoid moving
	Flops    int64     // arithmetic it cannot avoid
}

// Stage is a list of dispatches that run side by side; one may wait for another only where Info.InOrder, and only for one before it. The
// stage starts when all of the stage before are done, unless it flows. A profiler times neighbouring stages of one label together, so
// that its timestamps do not slow down a chain of them; with one of stages none flows.
type Stage struct {
	Label      string
	Dispatches []Dispatch
	Flows      bool // no barrier before: its kernels wait for the stage before by themselves, which takes Info.InOrder
}

// Program is a recorded list of stages, to be submitted any number of times, one at a time.
type Program struct {
	dev      *Device
	name     string
	commands uint64
	stages   []stageCost
	queries  vk.QueryPool
	ticket   uint64 // of the last submission; guarded by dev.mu
}

// stageCost is what the profiler needs to know of neighbouring stages of one label.
type stageCost struct {
	label        string
	count        int
	bytes, flops int64
}

// Record turns stages into a program. It waits for their kernels and returns the error of the first that did not compile, or of a stage
// that flows where the device does not allow it. With a profiler the program notes the time of each stage; see Profiler.Collect.
func (d *Device) Record(name string, stages []Stage, p *Profiler) (*Program, error) {
	program := &Program{dev: d, name: name}
	timed := p.timing()
	for i, s := range stages {
		if i == 0 || timed.ends(stages, i-1) {
			program.stages = append(program.stages, stageCost{label: s.Label})
		}
		if s.Flows && !d.info.InOrder {
			return nil, fmt.Errorf("compute: record %q: stage %q flows, on a device that starts workgroups in any order", name, s.Label)
		}
		cost := &program.stages[len(program.stages)-1]
		cost.count++
		for i := range s.Dispatches {
			if err := d.checkDispatch(&s.Dispatches[i]); err != nil {
				return nil, fmt.Errorf("compute: record %q, stage %q, dispatch %q: %w", name, s.Label, s.Dispatches[i].Label, err)
			}
			cost.bytes += s.Dispatches[i].Bytes
			cost.flops += s.Dispatches[i].Flops
		}
	}
	if timed == byProgram && len(stages) > 0 {
		program.stages[0].label, program.stages[0].count = name, 1
	}
	if timed != untimed {
		if err := program.createQueries(); err != nil {
			return nil, fmt.Errorf("compute: record %q: %w", name, err)
		}
	}
	commands, push := encode(stages, timed)
	d.mu.Lock()
	defer d.mu.Unlock()
	var r native.Result
	program.commands, r = d.native.Record(number(d.work.pool), commands, push, number(program.queries))
	if r != 0 {
		program.destroy()
		return nil, check(r, "record %q", name)
	}
	d.programs[program] = struct{}{}
	return program, nil
}

func (d *Device) checkDispatch(x *Dispatch) error {
	if x.Kernel == nil {
		return errors.New("no kernel")
	}
	if len(x.Push) > MaxPush || len(x.Push)%4 != 0 {
		return fmt.Errorf("%d bytes of push constants: at most %d, in whole words", len(x.Push), MaxPush)
	}
	if at := x.Indirect; at != nil {
		if at.Offset < 0 || at.Offset%4 != 0 || at.Offset+12 > at.Buffer.size {
			return fmt.Errorf("group counts at %d of a buffer of %d bytes", at.Offset, at.Buffer.size)
		}
	} else {
		for i, n := range x.Groups {
			if n > d.groups[i] {
				return fmt.Errorf("groups %v: the device allows at most %v", x.Groups, d.groups)
			}
		}
	}
	return x.Kernel.Ready()
}

// timing is what a program's timestamps tell; the first one stands at its beginning.
type timing int

const (
	untimed   timing = iota
	byStage          // when the last of neighbouring stages of one label ends; no stage flows
	byProgram        // when the program ends
)

// ends says whether a timestamp stands behind the i-th stage.
func (t timing) ends(stages []Stage, i int) bool {
	if i+1 == len(stages) {
		return t != untimed
	}
	return t == byStage && stages[i+1].Label != stages[i].Label
}

// encode lists the commands of a program and the push constants they point into.
func encode(stages []Stage, timed timing) (commands []native.Command, push []byte) {
	next := 0 // timestamp
	if timed != untimed {
		timestamps := 1
		for i := range stages {
			if timed.ends(stages, i) {
				timestamps++
			}
		}
		commands = append(commands, native.ResetTimestamps(timestamps))
	}
	commands = append(commands, native.Barrier(native.BeginBarrier))
	if timed != untimed {
		commands = append(commands, native.Timestamp(next))
		next++
	}
	var bound uint64
	for i, s := range stages {
		if i > 0 && (!s.Flows || timed == byStage) {
			commands = append(commands, native.Barrier(native.StageBarrier))
		}
		for _, x := range s.Dispatches {
			if x.Kernel.pipeline != bound {
				bound = x.Kernel.pipeline
				commands = append(commands, native.Bind(bound))
			}
			if len(x.Push) > 0 {
				commands = append(commands, native.Push(len(push), len(x.Push)))
				push = append(push, x.Push...)
			}
			if x.Indirect != nil {
				commands = append(commands, native.DispatchIndirect(number(x.Indirect.Buffer.buffer), uint64(x.Indirect.Offset)))
			} else {
				commands = append(commands, native.Dispatch(x.Groups))
			}
		}
		if timed.ends(stages, i) {
			commands = append(commands, native.Timestamp(next))
			next++
		}
	}
	return append(commands, native.Barrier(native.EndBarrier)), push
}

// Name is the name given to Record.
func (p *Program) Name() string { return p.name }

// Release frees the program once the work submitted so far is done. Further calls do nothing.
func (p *Program) Release() {
	d := p.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, alive := d.programs[p]; !alive {
		return
	}
	delete(d.programs, p)
	d.bury(&d.work, p.destroy)
}

// destroy frees the recording; dev.mu is held.
func (p *Program) destroy() {
	if p.commands != 0 {
		p.dev.native.FreeRecorded(number(p.dev.work.pool), p.commands)
	}
	if p.queries != nil {
		vk.DestroyQueryPool(p.dev.handle, p.queries, nil)
	}
}
