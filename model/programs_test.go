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
