package main

import (
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

const plotWidth, plotHeight = 16 * vg.Centimeter, 10 * vg.Centimeter

// writePlots draws a played trace into a folder: latency.svg, timeline.svg and, if memory was watched, memory.svg.
func (p *player) writePlots(folder string, m *memory) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := p.plotLatency(filepath.Join(folder, "latency.svg")); err != nil {
		return err
	}
	if err := p.plotTimeline(filepath.Join(folder, "timeline.svg")); err != nil {
		return err
	}
	if m == nil {
		return nil
	}
	return m.plot(filepath.Join(folder, "memory.svg"))
}

// plotLatency draws how many of the answers stayed below each latency.
func (p *player) plotLatency(path string) error {
	l := p.latencies()
	g := plot.New()
	g.Title.Text, g.X.Label.Text, g.Y.Label.Text = "Latency", "ms", "share below"
	g.X.Scale, g.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	g.Y.Min, g.Y.Max = 0, 1
	err := plotutil.AddLines(g, "first token", shareBelow(l.first), "between tokens", shareBelow(l.gaps), "end to end", shareBelow(l.whole))
	if err != nil {
		return err
	}
	return g.Save(plotWidth, plotHeight, path)
}

// leastShown keeps latencies of tokens that arrived together on a logarithmic axis.
const leastShown = 0.01 // ms

func shareBelow(list []float64) plotter.XYs {
	slices.Sort(list)
	points := plotter.XYs{{X: leastShown}} // an axis needs a point
	for i, v := range list {
		points = append(points, plotter.XY{X: max(v, leastShown), Y: float64(i+1) / float64(len(list))})
	}
	return points
}

// plotTimeline draws tokens per second and unanswered requests over the run.
func (p *player) plotTimeline(path string) error {
	seconds := int(p.took.Seconds()) + 1
	tokens, open := make(plotter.XYs, seconds), make(plotter.XYs, seconds)
	for s := range seconds {
		tokens[s].X, open[s].X = float64(s), float64(s)
	}
	for i := range p.outcomes {
		o := &p.outcomes[i]
		for _, at := range o.answer.arrived {
			tokens[int(at.Sub(p.start).Seconds())].Y++
		}
		if len(o.answer.arrived) == 0 {
			continue
		}
		from, to := o.sent.Sub(p.start), o.answer.arrived[len(o.answer.arrived)-1].Sub(p.start)
		for s := int(from.Seconds()); s <= int(to.Seconds()); s++ {
			open[s].Y++
		}
	}
	g := plot.New()
	g.Title.Text, g.X.Label.Text, g.Y.Min = "Timeline", "s", 0
	if err := plotutil.AddLines(g, "tokens per second", tokens, "open requests", open); err != nil {
		return err
	}
	return g.Save(plotWidth, plotHeight, path)
}

// plot draws memory over time.
func (m *memory) plot(path string) error {
	over := func(list samples) plotter.XYs {
		points := make(plotter.XYs, len(list))
		for i, size := range list {
			points[i] = plotter.XY{X: float64(i) * m.Every, Y: size}
		}
		return points
	}
	g := plot.New()
	g.Title.Text, g.X.Label.Text, g.Y.Label.Text, g.Y.Min = "Memory of the server", "s", "MiB", 0
	if err := plotutil.AddLines(g, "resident", over(m.Resident), "Go heap", over(m.Heap), "live", over(m.Live), "adapters", over(m.Adapters)); err != nil {
		return err
	}
	return g.Save(plotWidth, plotHeight, path)
}
