package main

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"lorikeet/tools/yardstick"
)

const plotWidth, plotHeight = 16 * vg.Centimeter, 10 * vg.Centimeter

// lines are the points of a plot by what they belong to.
type lines map[string]plotter.XYs

// draw saves lines over a logarithmic axis, in the order of their names, and a line at one.
func (l lines) draw(g *plot.Plot, path string) error {
	g.Add(plotter.NewGrid())
	g.X.Scale, g.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	g.Y.Min, g.Legend.Top = 0, true
	g.X.Min, g.X.Max, g.Y.Max = 0.8, 1.25, 1.1
	one := plotter.NewFunction(func(float64) float64 { return 1 })
	one.Dashes = plotutil.Dashes(1)
	g.Add(one)
	var named []any
	names := make([]string, 0, len(l))
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		named = append(named, name, l[name])
		for _, p := range l[name] {
			g.X.Max, g.Y.Max = max(g.X.Max, 1.25*p.X), max(g.Y.Max, 1.1*p.Y)
		}
	}
	if err := plotutil.AddLinePoints(g, named...); err != nil {
		return err
	}
	return g.Save(plotWidth, plotHeight, path)
}

// plotProducts draws how fast projections are against the baseline, over the number of rows.
func plotProducts(r *yardstick.Report, path string) error {
	g := plot.New()
	g.Title.Text, g.X.Label.Text, g.Y.Label.Text = "Projections", "rows", "speed of cuBLAS = 1"
	l := lines{}
	for _, x := range r.Results {
		words := strings.Split(x.Name, "/")
		if words[0] == "project" && len(words) == 3 && x.Baseline > 0 {
			l[words[1]] = append(l[words[1]], plotter.XY{X: value(words[2]), Y: x.Baseline / x.Us})
		}
	}
	return l.draw(g, path)
}

// plotSteps draws decode steps against the time that their bytes take, over the batch.
func plotSteps(r *yardstick.Report, path string) error {
	g := plot.New()
	g.Title.Text, g.X.Label.Text, g.Y.Label.Text = "Decode steps", "sequences", "time, floor = 1"
	l := lines{}
	for _, x := range r.Results {
		if words := strings.Split(x.Name, "/"); words[0] == "step" && len(words) >= 4 {
			name := strings.Join(words[2:], ", ")
			floor := r.Roof(&yardstick.Result{Bytes: x.Bytes})
			l[name] = append(l[name], plotter.XY{X: value(words[1]), Y: x.Us / floor})
		}
	}
	return l.draw(g, path)
}

// value is the number of a word like "tokens=8", 0 if it has none.
func value(word string) float64 {
	var n float64
	_, text, _ := strings.Cut(word, "=")
	if _, err := fmt.Sscan(text, &n); err != nil {
		return 0
	}
	return n
}
