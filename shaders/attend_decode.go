package shaders

import (
	"fmt"

	"lorikeet/compute"
)

// What the attention kernels take.
const (
	MaxHeadDim = 256 // head_dim, which has to be a multiple of 8
	MaxGroup   = 16  // query heads per key head
)

// AttendDecode is attention of single rows over the KV pages of their lanes:
//
//	out[row, h, :] = sum_t softmax_t(Scale * q[row, h] · K[t]) V[t, :]
//
// over the keys of the row's items. The results of a row's ranges of keys are merged in the order of the keys, so the bits
// depend on the length of the ranges, but neither on timing nor on who reads which range.
type AttendDecode struct {
	QKV         Rows    // the query heads come first
	Out         Rows    // Heads*HeadDim columns; without an address, which takes Half: not written
	Half        *Halves // Out once more, written; nil: not
	Items       uint64  // DecodeItem [], as DecodeItems makes them
	PageTable   uint64  // uint32 [lane][MaxPages]
	MaxPages    int
	Pool        uint64 // page p begins at Pool + p*PageBytes
	PageBytes   int64
	LayerOffset int64 // bytes from a page's begin to the layer's keys
	Heads       int
	KVHeads     int
	HeadDim     int
	Scratch     uint64 // AttendDecodeScratch bytes
	Counters    uint64 // uint32 [row][KVHeads], zero; the kernel leaves them zero
	Flow        uint64 // of the stage, if it flows; see Flow
	Scale       float32
	Type        Type // of the pages
	Count       int  // workgroups of a key head; an Indirect decides over it
}

// DecodeRow is a row of AttendDecode, whose keys are cut into ranges.
type DecodeRow struct {
	Row, Lane int // of the batch; of the page table
	Keys      int
	Length    int // keys of a range, the last one may have fewer; in style Lanes all of them
	Base      int // ranges of the rows before
}

// Ranges is how many ranges the row has.
func (r DecodeRow) Ranges() int { return ceilDiv(r.Keys, r.Length) }

// chunks is how many chunks of keys so many ranges of the row have.
func (r DecodeRow) chunks(ranges int) int {
	whole := min(ranges, r.Keys/r.Length)
	n := whole * ceilDiv(r.Length, DecodeChunk)
	if ranges > whole {
		n += ceilDiv(r.Keys%r.Length, DecodeChunk)
	}
	return n
}

// DecodeItems appends the items of rows to an empty list, so that each of the workgroups of a key head, of which there are at most as many as
// ranges, has about as many chunks of keys: whole ranges, at least one, in the order of the keys of one row after the other. By chunks, since
// one key waits for memory as long as a chunk of them does.
func DecodeItems(items []DecodeItem, rows []DecodeRow, workgroups int) []DecodeItem {
	left, chunks := 0, 0 // ranges that nobody has yet; chunks of all
	for _, r := range rows {
		left, chunks = left+r.Ranges(), chunks+r.chunks(r.Ranges())
	}
	if workgroups > left {
		panic(fmt.Sprintf("shaders: %d workgroups for %d ranges of keys", workgroups, left))
	}
	items = append(items, make([]DecodeItem, workgroups)...)
	before := 0                           // chunks of the rows before
	workgroup, last, begun := 0, 0, false // last is the workgroup's last item, if it has begun
	for _, r := range rows {
		splits := r.Ranges()
		for split := 0; split < splits; {
			end := ceilDiv((workgroup+1)*chunks, workgroups) // of the chunks that the workgroups up to this one have, or more
			others := workgroups - workgroup - 1             // who have one range each at least
			first := split
			split += min(max(ceilDiv(end-before, r.chunks(1))-split, 1), left-others, splits-split)
			left -= split - first
			item := DecodeItem{
				Row: count32(r.Row), Lane: count32(r.Lane), Count: count32(min(split*r.Length, r.Keys) - first*r.Length),
				RangeKeys: count32(r.Length), Split: count32(first), Splits: count32(splits), Base: count32(r.Base),
			}
			if begun {
				items[last].Next = count32(len(items))
				last = len(items)
				items = append(items, item)
			} else {
				last = workgroup
				items[last] = item
			}
			begun = before+r.chunks(split) < end && left > others
			if !begun {
				workgroup++
			}
		}
		before += r.chunks(splits)
	}
	return items
}

// attendPlaces is how many workgroups of attend_decode a multiprocessor of NVIDIA's runs at once, by the registers that they take for four
// query heads of 128 columns per key head.
const attendPlaces = 3

// DecodeChunk is how many keys attend_decode reads together. In a stage that flows it reads the first ones of a row that has more while the stage
// before may still write: only the row's last key and value may be among what that writes then.
const DecodeChunk = attendDecodeThreads / attendDecodeKeyLanes * attendDecodeKeys

// manyAttend is how many keep a device busy whose multiprocessors are not known.
const manyAttend = 512

// DecodeWorkgroups is how many workgroups of a key head read so many ranges: as many as the device runs at once, so that all have about
// the same to do.
func (k *Kernels) DecodeWorkgroups(ranges, kvHeads int) int {
	if k.style == Lanes {
		return ranges // each is all keys of a row
	}
	places := manyAttend
	if k.info.Multiprocessors > 0 {
		places = attendPlaces * k.info.Multiprocessors
	}
	return min(ranges, max(1, places/kvHeads))
}

// AttendDecodeGroups is the grid for a number of workgroups of a key head.
func (k *Kernels) AttendDecodeGroups(heads, kvHeads, headDim, workgroups int) [3]uint32 {
	blocks := kvHeads
	if k.style == Lanes {
		blocks = heads / attendLanesHeads(heads/kvHeads, headDim)
	}
	return [3]uint32{count32(blocks), count32(workgroups), 1}
}

// AttendDecodeScratch is the bytes of scratch for a number of ranges: per range and head the unnormalised output, the
// maximum and the sum.
func AttendDecodeScratch(ranges, heads, headDim int) int64 {
	return int64(ranges) * int64(heads) * int64(headDim+4) * 4
}

// Dispatch is the launch. What it moves depends on the items' lengths, which only the device knows. In style Lanes each
// item must have all keys of its row.
func (a AttendDecode) Dispatch(k *Kernels) compute.Dispatch {
	if k.style == Lanes {
		return a.lanes(k)
	}
	mustLeave("attend_decode", a.Out, a.Half)
	spec := attendDecodeSpec{
		Type: uint32(a.Type), HeadDim: count32(a.HeadDim), Group: count32(a.Heads / a.KVHeads), Floats: a.Out.Address != 0, Half: a.Half != nil,
		Flow: a.Flow != 0,
	}
	return compute.Dispatch{
		Label:  "attend_decode",
		Kernel: k.kernel("attend_decode", spec),
		Push: pushBytes(attendDecodePush{
			Qkv: a.QKV.Address, Outputs: a.Out.Address, Items: a.Items, PageTable: a.PageTable, Pool: a.Pool,
			Scratch: a.Scratch, Counters: a.Counters, Flow: a.Flow,
			QkvStride: count32(a.QKV.Stride), OutStride: count32(a.Out.Stride), MaxPages: count32(a.MaxPages),
			PageBytes: count32(int(a.PageBytes)), LayerOffset: count32(int(a.LayerOffset)),
			KvHeads: count32(a.KVHeads), Scale: a.Scale,
			Halves: a.Half.address(), HalfPanels: a.Half.panels(),
		}),
		Groups: k.AttendDecodeGroups(a.Heads, a.KVHeads, a.HeadDim, a.Count),
	}
}
