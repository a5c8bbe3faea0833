package shaders

import (
	"fmt"

	"lorikeet/compute"
)

// Choice is one way to run a product: a kernel, and how it cuts the product into workgroups.
type Choice struct {
	Source string // as project_few.go, project_coop.go and project_coop_many.go spell the cut; "" is what Dispatch takes
	Launch func(p Project) compute.Dispatch
}

// Choices lists the ways to run a product that tuning compares: what Dispatch takes, every cut of the tables, and every cut that
// has one number of those doubled or halved, as far as the device can run them.
func (p Project) Choices(k *Kernels) []Choice {
	list := []Choice{{Launch: func(p Project) compute.Dispatch { return p.Dispatch(k) }}}
	if k.style == Lanes {
		return list
	}
	if k.Panels(p.W.Type) {
		return p.coopChoices(k, list)
	}
	if p.Tokens <= mostFew {
		for _, shape := range neighbours(fewCuts(), func(s *[3]uint32) []*uint32 { return []*uint32{&s[0], &s[1], &s[2]} }) {
			if shape[0] < projectFewSmallestSubgroup || shape[0] > projectFewThreads || shape[1] > 16 || shape[2] > 4 {
				continue
			}
			list = append(list, Choice{
				Source: fmt.Sprintf("[3]uint32{%d, %d, %d}", shape[0], shape[1], shape[2]),
				Launch: func(p Project) compute.Dispatch {
					spec := p.fewSpec()
					spec.Lanes, spec.Rows, spec.Unroll = shape[0], shape[1], shape[2]
					d, _ := p.few(k, spec)
					return d
				},
			})
		}
	}
	return list
}

// coopChoices is Choices where products go by cooperative matrices.
func (p Project) coopChoices(k *Kernels, list []Choice) []Choice {
	if p.Tokens <= mostNarrow {
		var cuts []coopCut
		for _, entry := range coopCuts {
			cuts = append(cuts, entry.wide, entry.few)
		}
		cuts = append(cuts, sharedCut)
		for _, cut := range neighbours(cuts, func(c *coopCut) []*uint32 { return []*uint32{&c.strips, &c.split, &c.sides} }) {
			if spec := p.coopSpec(k, &cut); cut.strips <= 4 && spec.fits(k.info) {
				list = append(list, Choice{
					Source: fmt.Sprintf("coopCut{%d, %d, %d}", cut.strips, cut.split, cut.sides),
					Launch: func(p Project) compute.Dispatch {
						d, _ := p.coop(k, p.coopSpec(k, &cut))
						return d
					},
				})
			}
		}
	}
	if p.Tokens <= mostFew {
		return list
	}
	numbers := func(c *coopManyCut) []*uint32 {
		return []*uint32{&c.eachM, &c.eachN, &c.subgroupsM, &c.subgroupsN, &c.places}
	}
	for _, cut := range neighbours([]coopManyCut{manyCut}, numbers) {
		spec, _ := p.coopManySpec(k, &cut)
		if cut.eachM*cut.eachN > 16 || !spec.fits(k.info) || spec.tile().rows >= 2*p.Tokens {
			continue // its sums take more registers than there are, it does not fit, or half of its rows would be empty
		}
		list = append(list, Choice{
			Source: fmt.Sprintf("coopManyCut{%d, %d, %d, %d, %d}", cut.eachM, cut.eachN, cut.subgroupsM, cut.subgroupsN, cut.places),
			Launch: func(p Project) compute.Dispatch {
				spec, places := p.coopManySpec(k, &cut) // of what is placed by now
				d, _ := p.coopMany(k, spec, places)
				return d
			},
		})
	}
	return list
}

func fewCuts() [][3]uint32 {
	var list [][3]uint32
	for _, entry := range fewShapes {
		list = append(list, entry.wide, entry.few)
	}
	return list
}

// neighbours adds to a list of cuts those with one number doubled or halved; each once.
func neighbours[T comparable](cuts []T, numbers func(*T) []*uint32) []T {
	seen := map[T]bool{}
	var list []T
	add := func(cut T) {
		if !seen[cut] {
			seen[cut] = true
			list = append(list, cut)
		}
	}
	for _, cut := range cuts {
		add(cut)
		for i := range numbers(&cut) {
			larger, smaller := cut, cut
			*numbers(&larger)[i] *= 2
			add(larger)
			if *numbers(&cut)[i] > 1 {
				*numbers(&smaller)[i] /= 2
				add(smaller)
			}
		}
	}
	return list
}
