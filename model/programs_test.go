package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/lora"
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

// A tail has adapters of the head only where the layers may have some, too.
func TestNeededPrograms(t *testing.T) {
	also, layers := lora.Targets{lora.Q: true, lora.LMHead: true}, lora.Targets{lora.Q: true}
	for _, c := range []struct {
		key               programKey
		withHead, without bool
	}{
		{programKey{part: mixedBody, adapters: true}, true, true},
		{programKey{part: mixedBody, adjusts: true}, false, false},
		{programKey{part: decodeBody, headAdapters: true}, false, false},
		{programKey{part: head, adjusts: true}, true, true},
		{programKey{part: head, adapters: true}, false, false},
		{programKey{part: head, headAdapters: true}, true, false},
		{programKey{part: tail, adapters: true}, true, true},
		{programKey{part: tail, headAdapters: true}, false, false},
		{programKey{part: tail, adapters: true, headAdapters: true, adjusts: true}, true, false},
	} {
		require.Equal(t, c.withHead, c.key.needed(also), c.key)
		require.Equal(t, c.without, c.key.needed(layers), c.key)
	}
	require.False(t, programKey{part: mixedBody, rows: mostWhole}.leavesTail())
	require.True(t, programKey{part: mixedBody, rows: mostWhole + 1}.leavesTail())
	require.False(t, programKey{part: decodeBody, rows: mostWhole + 1}.leavesTail())
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
