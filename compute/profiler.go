package compute

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"time"

	vk "github.com/vulkan-go/vulkan"

	"lorikeet/compute/internal/native"
)

// Profiler adds up how long the stages of programs took on the device, or programs as a whole.
type Profiler struct {
	whole  bool
	period float64 // nanoseconds per tick
	mask   uint64  // bits of a tick that count
	origin uint64  // first tick seen
	events []event
}

// event is one run of neighbouring stages of one label.
type event struct {
	program    string
	cost       stageCost
	start, end float64 // nanoseconds since origin
}

// ProfileRow sums the runs of the stages of one label.
type ProfileRow struct {
	Label string
	Count int
	Total time.Duration
	Mean  time.Duration
	Bytes int64 // sum of Dispatch.Bytes over the runs
	Flops int64 // sum of Dispatch.Flops over the runs
}

// NewProfiler makes a profiler for the stages of programs of the device.
func NewProfiler(d *Device) *Profiler {
	p := new(Profiler)
	p.period, p.mask = d.physical.description.TimestampPeriod()
	return p
}

// NewProgramProfiler makes a profiler for whole programs, each a row of its name. Its two timestamps leave the stages between them to flow.
func NewProgramProfiler(d *Device) *Profiler {
	p := NewProfiler(d)
	p.whole = true
	return p
}

func (p *Profiler) timing() timing {
	switch {
	case p == nil:
		return untimed
	case p.whole:
		return byProgram
	}
	return byStage
}

func (p *Program) createQueries() error {
	if p.dev.info.TimestampPeriod == 0 {
		return errors.New("the device has no timestamps")
	}
	info := vk.QueryPoolCreateInfo{SType: vk.StructureTypeQueryPoolCreateInfo, QueryType: vk.QueryTypeTimestamp, QueryCount: uint32(len(p.stages) + 1)}
	defer info.Free()
	var queries vk.QueryPool
	r := vk.CreateQueryPool(p.dev.handle, &info, nil, &queries)
	p.queries = queries
	return resultError(native.Result(r))
}

// Collect adds the last run of a program that was recorded with a profiler. The run must be done.
func (p *Profiler) Collect(program *Program) error {
	if program.queries == nil {
		return fmt.Errorf("compute: profile %q: it was recorded without a profiler", program.name)
	}
	ticks := make([]uint64, len(program.stages)+1)
	if r := program.dev.native.Timestamps(number(program.queries), ticks); r == native.Result(vk.NotReady) {
		return fmt.Errorf("compute: profile %q: no run of it is done", program.name)
	} else if r != 0 {
		return check(r, "profile %q", program.name)
	}
	if len(p.events) == 0 {
		p.origin = ticks[0]
	}
	at := func(tick uint64) float64 { return float64((tick-p.origin)&p.mask) * p.period }
	for i, cost := range program.stages {
		p.events = append(p.events, event{program: program.name, cost: cost, start: at(ticks[i]), end: at(ticks[i+1])})
	}
	return nil
}

// Reset forgets the runs collected so far, those that warm up for example.
func (p *Profiler) Reset() { p.events = p.events[:0] }

// Idle lists how long the device did nothing between the runs collected so far, in their order: behind a stage until the next one began.
func (p *Profiler) Idle() []time.Duration {
	var list []time.Duration
	for i := 1; i < len(p.events); i++ {
		list = append(list, time.Duration(p.events[i].start-p.events[i-1].end))
	}
	return list
}

// Summary has a row per stage label, the longest total first.
func (p *Profiler) Summary() []ProfileRow {
	index := map[string]int{}
	var rows []ProfileRow
	for _, e := range p.events {
		i, ok := index[e.cost.label]
		if !ok {
			i = len(rows)
			index[e.cost.label] = i
			rows = append(rows, ProfileRow{Label: e.cost.label})
		}
		rows[i].Count += e.cost.count
		rows[i].Total += time.Duration(e.end - e.start)
		rows[i].Bytes += e.cost.bytes
		rows[i].Flops += e.cost.flops
	}
	for i := range rows {
		rows[i].Mean = rows[i].Total / time.Duration(rows[i].Count)
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].Total > rows[j].Total })
	return rows
}

// WriteChromeTrace writes every collected run of a stage, or of neighbours of one label, as a complete event of the Chrome trace format, which ui.perfetto.dev
// and chrome://tracing show.
func (p *Profiler) WriteChromeTrace(w io.Writer) error {
	type traceEvent struct {
		Name     string           `json:"name"`
		Category string           `json:"cat"`
		Phase    string           `json:"ph"`
		Start    float64          `json:"ts"`  // microseconds
		Duration float64          `json:"dur"` // microseconds
		Process  int              `json:"pid"`
		Thread   int              `json:"tid"`
		Args     map[string]int64 `json:"args"`
	}
	trace := struct {
		Events []traceEvent `json:"traceEvents"`
		Unit   string       `json:"displayTimeUnit"`
	}{Events: []traceEvent{}, Unit: "ns"}
	for _, e := range p.events {
		trace.Events = append(trace.Events, traceEvent{Name: e.cost.label, Category: e.program, Phase: "X", Start: e.start / 1e3, Duration: (e.end - e.start) / 1e3,
			Args: map[string]int64{"bytes": e.cost.bytes, "flops": e.cost.flops}})
	}
	return json.NewEncoder(w).Encode(trace)
}
