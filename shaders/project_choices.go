package shaders

import (
	"fmt"

	"lorikeet/compute"
)

// Choice is one way to run a product: a kernel, and how it cuts the product into workgroups.
type Choice struct {
	Source string // as the tables in project_few.go and project_coop.go spell the cut; "" is what Dispatch takes
	Launch func(p Project) compute.Dispatch
}

// Choices lists the ways to run a product that tuning compares: what Dispatch takes, every cut of the tables, and every cut that
// has one number of those doubled or halved, as far as the device can run them. The kernels' style decides between products
// by cooperative matrices and others; few rows are tried without such matrices as well.
func (p Project) Choices(k *Kernels) []Choice {
	list := []Choice{{Launch: func(p Project) compute.Dispatch { return p.Dispatch(k) }}}
	if k.style == Lanes {
		return list
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
	if k.style != Matrices {
		return list
	}
	for _, tile := range neighbours(coopCuts(), (*coopTile).numbers) {
		spec, ok := p.coopSpecOf(k.info, tile)
		if !ok || tile.buffers > 2 || tile.depth > 4 || tile.eachN*tile.eachT > 16 || spec.tileT() >= 2*max(p.Tokens, int(spec.SizeT)) {
			continue // it does not fit, or half of its rows would be empty
		}
		list = append(list, Choice{
			Source: fmt.Sprintf("coopTile{%d, %d, %d, %d, %d, %d, %d, %d}",
				tile.eachN, tile.eachT, tile.acrossN, tile.acrossT, tile.splitK, tile.tileK, tile.buffers, tile.depth),
			Launch: func(p Project) compute.Dispatch {
				spec, _ := p.coopSpecOf(k.info, tile)
				d, _ := p.coop(k, spec)
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

func coopCuts() []coopTile {
	var list []coopTile
	for _, entry := range coopTiles {
		for _, tile := range []coopTile{entry.wide, entry.few} {
			if tile != (coopTile{}) {
				list = append(list, tile)
			}
		}
	}
	return list
}

func (t *coopTile) numbers() []*uint32 {
	return []*uint32{&t.eachN, &t.eachT, &t.acrossN, &t.acrossT, &t.splitK, &t.tileK, &t.buffers, &t.depth}
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
