package shaders

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
)

func TestDecodeItems(t *testing.T) {
	rows := []DecodeRow{
		{Row: 4, Lane: 7, Keys: 300, Length: 64, Base: 0},
		{Row: 5, Lane: 1, Keys: 9, Length: 64, Base: 5},
		{Row: 6, Lane: 2, Keys: 129, Length: 128, Base: 6},
	}
	require.Equal(t, 5, rows[0].Ranges())
	first := func(count, split, next uint32) DecodeItem {
		return DecodeItem{Row: 4, Lane: 7, Next: next, Count: count, Split: split, Splits: 5, RangeKeys: 64}
	}
	second := func(next uint32) DecodeItem {
		return DecodeItem{Row: 5, Lane: 1, Next: next, Count: 9, Splits: 1, Base: 5, RangeKeys: 64}
	}
	third := func(count, split, next uint32) DecodeItem {
		return DecodeItem{Row: 6, Lane: 2, Next: next, Count: count, Split: split, Splits: 2, Base: 6, RangeKeys: 128}
	}
	require.Equal(t, []DecodeItem{first(300, 0, 1), second(2), third(129, 0, 0)}, DecodeItems(nil, rows, 1))
	require.Equal(t, []DecodeItem{first(192, 0, 0), first(108, 3, 3), third(129, 0, 0), second(0)}, DecodeItems(nil, rows, 3))
	require.Equal(t, []DecodeItem{
		first(64, 0, 0), first(64, 1, 0), first(64, 2, 0), first(64, 3, 0), first(44, 4, 0), second(0), third(128, 0, 0), third(1, 1, 0),
	}, DecodeItems(nil, rows, 8))
	require.Empty(t, DecodeItems(nil, nil, 0))
	require.Panics(t, func() { DecodeItems(nil, rows, 9) })
}

func TestDecodeWorkgroups(t *testing.T) {
	gpu := &Kernels{info: compute.Info{Multiprocessors: 132}, style: Matrices}
	require.Equal(t, 7, gpu.DecodeWorkgroups(7, 8))
	require.Equal(t, 49, gpu.DecodeWorkgroups(256, 8))
	require.Equal(t, 1, gpu.DecodeWorkgroups(256, 1000))
	require.Equal(t, 64, (&Kernels{}).DecodeWorkgroups(256, 8))
	require.Equal(t, 64, (&Kernels{style: Lanes}).DecodeWorkgroups(64, 8))
}

// TestDecodeItemsOfShortRows shares a prompt's rows out like as many chunks: to read one key takes as long.
func TestDecodeItemsOfShortRows(t *testing.T) {
	rows := []DecodeRow{{Row: 0, Keys: 512, Length: 128}}
	for r := range 8 {
		rows = append(rows, DecodeRow{Row: 1 + r, Keys: 1 + r, Length: 128, Base: 4 + r})
	}
	items := DecodeItems(nil, rows, 4)
	var had []int
	for first := range 4 {
		n := 1
		for at := first; items[at].Next != 0; n++ {
			at = int(items[at].Next)
		}
		had = append(had, n)
	}
	require.Equal(t, []int{1, 1, 4, 4}, had)
	require.EqualValues(t, 256, items[0].Count)
}

// TestDecodeItemsAreEven shares rows of all lengths out: every range once, and nobody has more than a range above the even share.
func TestDecodeItemsAreEven(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var rows []DecodeRow
		ranges, chunks, longest := 0, 0, 0
		for row := range 1 + random.IntN(70) {
			r := DecodeRow{Row: row, Keys: 1 + random.IntN(1<<(3+random.IntN(12))), Length: 128 << random.IntN(4), Base: ranges}
			rows, ranges, chunks, longest = append(rows, r), ranges+r.Ranges(), chunks+r.chunks(r.Ranges()), max(longest, r.Length/DecodeChunk)
		}
		workgroups := 1 + random.IntN(min(ranges, 60))
		items := DecodeItems(nil, rows, workgroups)
		seen := map[[2]uint32]bool{}
		for first := range workgroups {
			mine := 0
			for at := uint32(first); ; at = items[at].Next {
				item := items[at]
				mine += ceilDiv(int(item.Count), DecodeChunk)
				for split := item.Split; split*item.RangeKeys < item.Split*item.RangeKeys+item.Count; split++ {
					require.False(t, seen[[2]uint32{item.Row, split}])
					seen[[2]uint32{item.Row, split}] = true
				}
				if item.Next == 0 {
					break
				}
			}
			require.Positive(t, mine)
			require.LessOrEqual(t, mine, chunks/workgroups+longest+1)
		}
		require.Len(t, seen, ranges)
	}
}
