package shaders

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecodeRow(t *testing.T) {
	row := DecodeRow{Row: 4, Lane: 7, Keys: 300, Length: 64, Base: 9}
	require.Equal(t, 5, row.Ranges())
	want := func(first, count, split uint32) DecodeItem {
		return DecodeItem{Row: 4, Lane: 7, First: first, Count: count, Split: split, Splits: 5, Base: 9, RangeKeys: 64}
	}
	require.Equal(t, []DecodeItem{{Row: 1}, want(0, 128, 0), want(128, 128, 2), want(256, 44, 4)}, row.Append([]DecodeItem{{Row: 1}}, 2))
	require.Equal(t, []DecodeItem{want(0, 300, 0)}, row.Append(nil, 8))
}
