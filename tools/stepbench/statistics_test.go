package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
)

func TestWriteStatistics(t *testing.T) {
	var out strings.Builder
	require.NoError(t, writeStatistics(&out, []compute.KernelStatistics{
		{Kernel: "embed[2 1]", Statistics: []compute.Statistic{{Name: "Register Count", Value: 18}, {Name: "Binary Size", Value: 3712}}},
		{Kernel: "sample[0]", Statistics: []compute.Statistic{{Name: "Register Count", Value: 128}, {Name: "Binary Size", Value: 88960}}},
	}))
	require.Equal(t, `
  Register Count  Binary Size kernel
              18         3712 embed[2 1]
             128        88960 sample[0]
`, out.String())

	out.Reset()
	require.NoError(t, writeStatistics(&out, nil))
	require.Contains(t, out.String(), "lacks VK_KHR_pipeline_executable_properties")
}
