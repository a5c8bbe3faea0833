package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// report is the result of a run. Latencies are of answers that arrived whole.
type report struct {
	Name      string  `json:"name"`
	Requests  int     `json:"requests"`
	Answered  int     `json:"answered"`
	Left      int     `json:"left"`
	Refused   int     `json:"refused"`
	Lost      int     `json:"lost"`
	Wrong     int     `json:"wrong"`
	Compared  float64 `json:"compared"` // share of the solo answers' tokens that are certain; 0: nothing was compared
	Adapters  int     `json:"adapters"` // distinct ones asked for
	Seconds   float64 `json:"seconds"`
	TokensIn  int     `json:"tokens_in"`
	TokensOut int     `json:"tokens_out"` // those of clients who left as well
	Cached    int     `json:"cached_tokens"`

	First     quantiles   `json:"first_token_ms"`
	Gap       quantiles   `json:"token_gap_ms"`
	Steady    quantiles   `json:"steady_gap_ms"` // of the gaps during which every request of the run had its first token, and none its last
	Longest   *longestGap `json:"longest_steady_gap,omitempty"`
	Whole     quantiles   `json:"end_to_end_ms"`
	Waited    quantiles   `json:"answers_begun_before"` // between sending a request and its first token
	Swaps     int         `json:"swaps"`
	Taken     int         `json:"swaps_taken"`  // loads that a request for the old adapter forestalled
	Failed    int         `json:"swaps_failed"` // errors, and first answers that were lost
	Load      quantiles   `json:"load_ms"`
	LoadFirst quantiles   `json:"load_to_first_token_ms"`

	Faults []string   `json:"faults,omitempty"` // the first few errors of lost requests and failed swaps
	Idle   *idleState `json:"idle"`             // of the server, after the run
	Memory *memory    `json:"memory,omitempty"`
}

// quantiles sum up a list of numbers; all are 0 for an empty one.
type quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// maxFaults is how many errors a report quotes.
const maxFaults = 5

// report sums a played trace up.
func (p *player) report(name string) *report {
	r := &report{Name: name, Requests: len(p.outcomes), Seconds: p.took.Seconds()}
	adapters := map[string]bool{}
	for i := range p.outcomes {
		o := &p.outcomes[i]
		if r.count(o); o.adapter != "" {
			adapters[o.adapter] = true
		}
	}
	r.Adapters = len(adapters)
	l := p.latencies()
	r.First, r.Gap, r.Steady = quantilesOf(l.first), quantilesOf(l.gaps), quantilesOf(l.steady)
	r.Longest = p.waitedIn(l.longest)
	r.Whole, r.Waited = quantilesOf(l.whole), quantilesOf(l.waited)
	r.addSwaps(p.swapped)
	return r
}

// latencies are of the answers that arrived whole, in milliseconds but for waited.
type latencies struct {
	first, gaps, steady, whole, waited []float64

	longest [2]time.Time // of the steady gaps
}

func (p *player) latencies() (l latencies) {
	from, to := p.together()
	for i := range p.outcomes {
		o := &p.outcomes[i]
		if o.ending != answered {
			continue
		}
		times := o.answer.arrived
		l.first = append(l.first, milliseconds(times[0].Sub(o.sent)))
		l.whole = append(l.whole, milliseconds(times[len(times)-1].Sub(o.sent)))
		l.waited = append(l.waited, float64(o.waited))
		for k := range times[1:] {
			gap := milliseconds(times[k+1].Sub(times[k]))
			l.gaps = append(l.gaps, gap)
			if !times[k].Before(from) && !times[k+1].After(to) {
				l.steady = append(l.steady, gap)
				if gap > milliseconds(l.longest[1].Sub(l.longest[0])) {
					l.longest = [2]time.Time{times[k], times[k+1]}
				}
			}
		}
	}
	return l
}

// longestGap is when the longest steady gap began, and how many answers waited meanwhile: one, if something held up its client, all, if it was
// the server.
type longestGap struct {
	Seconds float64 `json:"after_seconds"`
	Answers int     `json:"answers"`
}

// waitedIn counts the answers of which no token arrived in the middle half of a gap; nil where there is none.
func (p *player) waitedIn(gap [2]time.Time) *longestGap {
	whole := gap[1].Sub(gap[0])
	if whole == 0 {
		return nil
	}
	from, to := gap[0].Add(whole/4), gap[1].Add(-whole/4)
	r := &longestGap{Seconds: gap[0].Sub(p.start).Seconds()}
	for i := range p.outcomes {
		o := &p.outcomes[i]
		inside := func(t time.Time) bool { return !t.Before(from) && !t.After(to) }
		if o.ending == answered && !slices.ContainsFunc(o.answer.arrived, inside) {
			r.Answers++
		}
	}
	return r
}

// together is from the last answer's first token to the first answer's last. There is no such time, and from is after to,
// where the requests did not all run at once.
func (p *player) together() (from, to time.Time) {
	to = forever
	for i := range p.outcomes {
		o := &p.outcomes[i]
		if o.ending != answered {
			continue
		}
		if first := o.answer.arrived[0]; first.After(from) {
			from = first
		}
		if last := o.answer.arrived[len(o.answer.arrived)-1]; last.Before(to) {
			to = last
		}
	}
	return from, to
}

func (r *report) count(o *outcome) {
	switch o.ending {
	case answered:
		r.Answered++
	case left:
		r.Left++
	case refused:
		r.Refused++
	case lost:
		r.Lost++
		r.fault(o.err)
	}
	if o.wrong {
		r.Wrong++
	}
	r.TokensIn += o.answer.prompt
	r.TokensOut += len(o.answer.ids)
	r.Cached += o.answer.cached
}

func (r *report) addSwaps(list []swapOutcome) {
	var load, first []float64
	for _, s := range list {
		r.Swaps++
		switch {
		case s.err != nil:
			r.Failed++
			r.fault(s.err)
		case s.taken:
			r.Taken++
		default:
			load = append(load, milliseconds(s.loaded))
			first = append(first, milliseconds(s.first))
		}
		if s.wrong {
			r.Wrong++
		}
	}
	r.Load, r.LoadFirst = quantilesOf(load), quantilesOf(first)
}

func (r *report) fault(err error) {
	if len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, err.Error())
	}
}

func quantilesOf(list []float64) quantiles {
	if len(list) == 0 {
		return quantiles{}
	}
	slices.Sort(list)
	at := func(q float64) float64 { return list[int(q*float64(len(list)-1))] }
	return quantiles{at(0.5), at(0.9), at(0.99), list[len(list)-1]}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// write saves the report as JSON.
func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// readReports reads saved reports.
func readReports(paths []string) ([]*report, error) {
	var list []*report
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		r := new(report)
		if err := json.Unmarshal(text, r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, r)
	}
	return list, nil
}
