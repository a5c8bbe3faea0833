package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"lorikeet/compute"
)

// doctor prints what devices there are and what each can run. It fails when none is usable.
func doctor(w io.Writer, devices func() ([]compute.Info, error)) error {
	infos, err := devices()
	if err != nil {
		return err
	}
	if len(infos) == 0 {
		return errors.New("no Vulkan device found: install the driver of your GPU, or mesa-vulkan-drivers for the CPU")
	}
	usable := 0
	for _, info := range infos {
		if len(info.Missing) == 0 {
			usable++
		}
		if err := describe(w, info); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	if usable == 0 {
		return errors.New("no usable Vulkan device: each lacks features that are required (see above)")
	}
	return nil
}

// describe prints one device.
func describe(out io.Writer, i compute.Info) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "device %d: %s\n", i.Index, i.Name)
	fmt.Fprintf(w, "  type\t%s\n", i.Type)
	fmt.Fprintf(w, "  driver\t%s, Vulkan %s\n", i.Driver, i.APIVersion)
	fmt.Fprintf(w, "  memory\t%s device-local, %s free, %s\n", size(i.LocalHeap), size(i.LocalFree), either(i.MappedLocal, "all mapped", "not all mapped: uploads are staged"))
	fmt.Fprintf(w, "  limits\tallocation %s, shared memory %s, push constants %d B, workgroup %d, subgroup %d\n",
		size(i.MaxAllocation), size(int64(i.MaxSharedMemory)), i.MaxPushConstants, i.MaxWorkgroupInvocations, i.SubgroupSize)
	if i.Multiprocessors > 0 {
		fmt.Fprintf(w, "  multiprocessors\t%d\n", i.Multiprocessors)
	}
	fmt.Fprintf(w, "  workgroups\t%s\n", either(i.InOrder, "may wait for those before them: with coop, steps of few rows need no barriers", "start in any order"))
	fmt.Fprintf(w, "  timestamps\t%s\n", either(i.TimestampPeriod > 0, fmt.Sprintf("%g ns", i.TimestampPeriod), "none: --profile does not work"))
	fmt.Fprintf(w, "  usable\t%s\n", either(len(i.Missing) == 0, "yes", "no, it lacks "+strings.Join(i.Missing, ", ")))
	fmt.Fprintf(w, "  kernels\n")
	for _, v := range i.Variants() {
		fmt.Fprintf(w, "    %s\t%s\n", v.Name, either(v.OK, "runs", "does not run: "+v.Why))
	}
	fmt.Fprintf(w, "  features\n")
	for _, f := range i.Features {
		fmt.Fprintf(w, "    %s\t%s%s\n", f.Name, either(f.OK, "yes", "no"), either(f.Required, " (required)", ""))
	}
	if len(i.CooperativeMatrix) > 0 {
		fmt.Fprintf(w, "  cooperative matrices\n")
	}
	for _, s := range i.CooperativeMatrix {
		shape := fmt.Sprintf("%d×%d×%d", s.M, s.N, s.K)
		if s.Invocations > 0 {
			shape = fmt.Sprintf("multiples of %s, workgroups of %d", shape, s.Invocations)
		}
		fmt.Fprintf(w, "    %s · %s + %s = %s\t%s\t%s\n", s.A, s.B, s.C, s.Out, s.Scope, shape)
	}
	return w.Flush()
}

func either(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}

// size prints a number of bytes.
func size(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.size {
			return fmt.Sprintf("%.4g %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
