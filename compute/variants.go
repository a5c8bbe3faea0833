package compute

import (
	"fmt"
	"strings"
)

// Variant is one way to write the matrix kernels and whether a device can run it.
type Variant struct {
	Name string // "fma", "coop"
	OK   bool
	Why  string // why not, when not OK
}

// Variants says which kinds of matrix kernel the device can run: fma needs nothing special, coop multiplies 16-bit matrices
// of a subgroup in hardware.
func (i Info) Variants() []Variant {
	variant := func(name string, reasons ...string) Variant {
		for _, why := range reasons {
			if why != "" {
				return Variant{Name: name, Why: why}
			}
		}
		return Variant{Name: name, OK: true}
	}
	unusable := ""
	if len(i.Missing) > 0 {
		unusable = "the device lacks " + strings.Join(i.Missing, ", ")
	}
	return []Variant{
		variant("fma", unusable),
		variant("coop", unusable, i.lacks("VK_KHR_cooperative_matrix"), i.lacks("vulkanMemoryModel"), i.lacksProduct(), i.lacksLanes()),
	}
}

func (i Info) lacks(feature string) string {
	if i.Has(feature) {
		return ""
	}
	return "the driver has no " + feature
}

// mostLanes is the size of subgroups up to which the kernels for cooperative matrices are written.
const mostLanes = 32

func (i Info) lacksLanes() string {
	if i.SubgroupSize <= mostLanes {
		return ""
	}
	return fmt.Sprintf("its subgroups have %d invocations, more than %d", i.SubgroupSize, mostLanes)
}

func (i Info) lacksProduct() string {
	for _, s := range i.CooperativeMatrix {
		if s.Scope == "subgroup" && (s.A == "f16" || s.A == "bf16") && s.B == s.A && s.Out == "f32" {
			return ""
		}
	}
	return "no 16-bit product with fp32 result at subgroup scope"
}
