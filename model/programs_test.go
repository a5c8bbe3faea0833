package model

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuckets(t *testing.T) {
	require.Equal(t, []int{1, 2, 4, 8, 16, 32, 48, 64, 100}, buckets(decodeBody, 100))
	require.Equal(t, []int{1, 2, 4, 8, 16, 32, 40}, buckets(decodeBody, 40))
	require.Equal(t, []int{1, 2, 4, 8, 16, 32, 40, 48, 56, 64, 80, 90}, buckets(mixedBody, 90))
	require.Equal(t, []int{1, 2, 4, 8, 16, 32, 64}, buckets(head, 64))
	for rows, want := range map[int]int{1: 1, 3: 4, 33: 48, 48: 48, 49: 64, 100: 100} {
		require.Equal(t, want, bucket(buckets(decodeBody, 100), rows), "%d rows", rows)
	}
}

// The warm-up stays within the context, and within the pages it enters.
func TestWarmRuns(t *testing.T) {
	for _, c := range []struct {
		context, rows int
		rowwise       bool
		want          []int // rows of each run
	}{
		{1, 512, false, []int{1}},
		{2, 512, false, []int{1, 1}},
		{8, 512, true, []int{7, 1}},
		{512, 512, true, []int{15, 1}},
		{512, 512, false, []int{511, 1}},
		{4096, 1152, false, []int{1152, 1}},
		{4096, 8, true, []int{8, 1}},
	} {
		runs := warmRuns(c.context, c.rows, c.rowwise)
		var rows []int
		for _, r := range runs {
			rows = append(rows, r.Rows)
			require.LessOrEqual(t, r.Start+r.Rows, min(c.context, len(runs[0].Pages)*PageTokens), "%+v", c)
		}
		require.Equal(t, c.want, rows, "%+v", c)
		require.Len(t, runs[0].Token, runs[0].Rows)
	}
}
