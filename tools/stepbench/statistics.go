package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"lorikeet/compute"
)

// writeStatistics prints a line for each kernel that the driver says something of: its name with its constants, then what the driver
// calls its statistics.
func writeStatistics(out io.Writer, list []compute.KernelStatistics) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "\nthe driver says nothing of its kernels: it lacks VK_KHR_pipeline_executable_properties")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w)
	for _, s := range list[0].Statistics {
		fmt.Fprintf(w, "%s\t", s.Name)
	}
	fmt.Fprint(w, " kernel\n")
	for _, k := range list {
		for _, s := range k.Statistics {
			fmt.Fprintf(w, "%.0f\t", s.Value)
		}
		fmt.Fprintf(w, " %s\n", k.Kernel)
	}
	return w.Flush()
}
