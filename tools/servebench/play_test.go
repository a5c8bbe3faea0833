package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the fake server does with a request depends on the first token of its prompt.
const (
	answersRight = iota
	answersWrong
	answersShort
	cutsShort
	breaks
	isFull
	isFullLater
	aborts
	behaviours
)

// fakeServer answers a prompt with as many tokens 7, but for what its behaviour says.
func fakeServer(t *testing.T) *client {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			IDs      []int32 `json:"input_ids"`
			Sampling struct {
				Most int `json:"max_new_tokens"`
			} `json:"sampling_params"`
		}
		if json.NewDecoder(r.Body).Decode(&q) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		ids := slices.Repeat([]int32{7}, q.Sampling.Most)
		finish := `{"type":"length"}`
		switch q.IDs[0] {
		case answersWrong:
			ids[1] = 8
		case answersShort:
			ids = ids[1:]
		case breaks:
			w.WriteHeader(http.StatusInternalServerError)
			return
		case isFull:
			w.WriteHeader(http.StatusTooManyRequests)
			return
		case isFullLater:
			fmt.Fprint(w, "data: {\"error\":{\"message\":\"full\",\"code\":503}}\n\ndata: [DONE]\n\n")
			return
		case aborts:
			finish = `{"type":"abort","message":"Aborted"}`
		}
		for n := range ids {
			fmt.Fprintf(w, "data: {\"output_ids\":%s,\"meta_info\":{\"prompt_tokens\":1,\"cached_tokens\":1}}\n\n", list(ids[:n+1]))
			if http.NewResponseController(w).Flush() != nil {
				return
			}
		}
		if q.IDs[0] != cutsShort {
			fmt.Fprintf(w, "data: {\"output_ids\":%s,\"meta_info\":{\"finish_reason\":%s}}\n\ndata: [DONE]\n\n", list(ids), finish)
		}
	}))
	t.Cleanup(s.Close)
	return newClient(s.URL)
}

func list(ids []int32) string {
	text, _ := json.Marshal(ids) // numbers always marshal
	return string(text)
}

// TestEndings plays one request of each behaviour, and one whose client leaves.
func TestEndings(t *testing.T) {
	p := &player{client: fakeServer(t), directory: newDirectory(0, nil), solos: &solos{answers: map[soloKey]solo{}}}
	trace := new(trace)
	for b := range int32(behaviours) {
		trace.prompts = append(trace.prompts, []int32{b})
		trace.requests = append(trace.requests, request{adapter: base, prompt: int(b), output: 3, leave: stays})
		p.solos.answers[soloKey{int(b), base}] = solo{[]int32{7, 7, 7}}
	}
	for _, leave := range []int{0, 2} {
		trace.requests = append(trace.requests, request{adapter: base, prompt: answersRight, output: 3, leave: leave})
	}
	p.play(t.Context(), trace)
	want := []ending{answered, answered, answered, lost, lost, refused, refused, lost, left, left}
	for i, o := range p.outcomes {
		require.Equal(t, want[i], o.ending, "request %d: %v", i, o.err)
		require.Equal(t, want[i] == lost, o.err != nil, "request %d", i)
		require.Equal(t, i == answersWrong || i == answersShort, o.wrong, "request %d", i)
	}
	r := p.report("fake")
	require.Equal(t, []int{3, 2, 2, 3, 2}, []int{r.Answered, r.Left, r.Refused, r.Lost, r.Wrong})
	require.Len(t, r.Faults, 3)
}

// Events have everything so far or what is new, and none goes missing.
func TestEvents(t *testing.T) {
	event := func(ids string, tokens int, finish string) string {
		return fmt.Sprintf(`data: {"output_ids":[%s],"meta_info":{"completion_tokens":%d,"output_top_logprobs":[%s],"finish_reason":%s}}`+"\n\n",
			ids, tokens, regexp.MustCompile(`\d+`).ReplaceAllString(ids, `[[-1,$0,null]]`), finish)
	}
	const end = `{"type":"length"}`
	for name, text := range map[string]string{
		"so far": event("4", 1, "null") + event("4,5", 2, "null") + event("4,5,6", 3, end) + "data: [DONE]\n\n",
		"news":   event("4", 1, "null") + event("5", 2, "null") + event("6", 3, end) + "data: [DONE]\n\n",
	} {
		a, err := readAnswer(strings.NewReader(text), nil)
		require.NoError(t, err, name)
		require.Equal(t, []int32{4, 5, 6}, a.ids, name)
		require.Len(t, a.arrived, 3, name)
		require.Equal(t, [][]scored{{{-1, 4}}, {{-1, 5}}, {{-1, 6}}}, a.top, name)
	}
	_, err := readAnswer(strings.NewReader(event("4", 1, "null")+event("6", 3, end)), nil)
	require.ErrorContains(t, err, "3 tokens has 2")
}

func TestCertain(t *testing.T) {
	lead := func(by float64) []scored { return []scored{{logprob: -1}, {logprob: -1 - by}} }
	require.Equal(t, 2, certain([][]scored{lead(1), lead(0.5), lead(0.1), lead(2)}, 0.2))
	require.Equal(t, 2, certain([][]scored{lead(1), lead(0.5)}, 0.2))
	require.Zero(t, certain([][]scored{{{logprob: -1}}}, 0.2))
}

// A solo answer decides as far as it is certain, for whole answers and for their beginnings.
func TestRight(t *testing.T) {
	s := &solos{answers: map[soloKey]solo{{0, 0}: {[]int32{1, 2}}, {0, 1}: {[]int32{3, 4}}}}
	require.True(t, s.right([]int32{1, 2, 9}, 0, []int{0}))
	require.True(t, s.right([]int32{3}, 0, []int{0, 1}))
	require.True(t, s.right(nil, 0, []int{0}))
	require.False(t, s.right([]int32{1, 9}, 0, []int{0}))
	require.False(t, s.right([]int32{1, 4}, 0, []int{0, 1}), "half of one and half of the other is neither")
	require.False(t, s.right([]int32{3}, 0, []int{0}))
}

// A request may get the old folder or the new one only if it was under way while the name changed hands.
func TestDirectory(t *testing.T) {
	d := newDirectory(2, []string{"a", "b", "c"})
	moment := func() time.Time {
		time.Sleep(time.Microsecond) // so that no two are equal
		return time.Now()
	}
	before := moment()
	require.Equal(t, []int{2, 0}, []int{d.onFrom(1, 1), d.onFrom(1, 2)})
	end := d.begin(1, 2)
	during := moment()
	require.Equal(t, []int{1}, d.between(1, before.Add(-time.Second), before))
	require.Equal(t, []int{1, 2}, d.between(1, before, during))
	end(true)
	after := moment()
	require.Equal(t, []int{1, 2}, d.between(1, during, after))
	require.Equal(t, []int{2}, d.between(1, after, moment()))
	require.Equal(t, 0, d.onFrom(1, 1))
	d.begin(1, 0)(false)
	after = moment()
	require.Equal(t, []int{2}, d.between(1, after, moment()), "a load that failed leaves the old folder")
	require.Equal(t, []int{0}, d.between(0, before, moment()))
}

func TestTableAndPlots(t *testing.T) {
	p := &player{client: fakeServer(t), directory: newDirectory(0, nil)}
	plan := plan{requests: 5, arrivals: arrivals{}, input: lengths{1, 1}, output: lengths{2, 4}, vocab: 1}
	p.play(t.Context(), plan.draw())
	r := p.report("fake")
	r.Idle, r.Memory = new(idleState), &memory{Resident: samples{3, 5, 4}, Heap: samples{1, 2, 1}, Live: samples{1, 1, 1}, Adapters: samples{0, 1, 1}, Every: 1}
	folder := t.TempDir()
	require.Contains(t, r.Memory.String(), "resident 3.0 / 3.0 / 5.0 / 5.0 / 4.0, ")
	require.NoError(t, r.write(folder+"/report.json"))
	read, err := readReports([]string{folder + "/report.json"})
	require.NoError(t, err)
	require.Equal(t, []*report{r}, read)
	require.NoError(t, p.writePlots(folder, r.Memory))
	for _, name := range []string{"latency", "timeline", "memory"} {
		require.FileExists(t, folder+"/"+name+".svg")
	}
}

// TestSummary has a line for each report.
func TestSummary(t *testing.T) {
	var text strings.Builder
	reports := []*report{{Name: "quiet", Idle: new(idleState), Seconds: 1}, {Name: "busy", Idle: new(idleState), Seconds: 1, Swaps: 3, Taken: 1, Failed: 1}}
	require.NoError(t, printSummary(&text, reports))
	require.Regexp(t, `\| quiet \| .*\|  \|\n\| busy \| .*\| 3, 2 \|`, text.String())
}

// TestSteadyGaps counts the gaps during which all answers were under way.
func TestSteadyGaps(t *testing.T) {
	at := func(ms ...int) *answer {
		a := new(answer)
		for _, m := range ms {
			a.arrived = append(a.arrived, time.UnixMilli(int64(m)))
		}
		return a
	}
	p := &player{outcomes: []outcome{{answer: at(0, 100, 110, 120, 130)}, {answer: at(100, 105, 125)}, {ending: lost, answer: at()}}}
	require.ElementsMatch(t, []float64{10, 10, 5, 20}, p.latencies().steady)
	p.start = time.UnixMilli(5)
	require.Equal(t, &longestGap{Seconds: 0.1, Answers: 1}, p.waitedIn(p.latencies().longest), "the other had a token in the middle")
	p.outcomes[0].answer = at(0, 100, 106, 124, 130)
	require.Equal(t, &longestGap{Seconds: 0.1, Answers: 2}, p.waitedIn(p.latencies().longest))
	p.outcomes = append(p.outcomes, outcome{answer: at(200, 300)})
	require.Empty(t, p.latencies().steady, "the last began after the first had ended")
}
