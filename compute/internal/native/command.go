package native

// #include "native.h"
import "C"

import "unsafe"

// Command is one entry of a recording, laid out as lk_command.
type Command struct {
	op             uint32
	x, y, z        uint32
	handle         uint64
	offset, size   uint64
	source, srcOff uint64
}

// The two declarations of a command must have one size.
var _ [unsafe.Sizeof(Command{})]byte = [C.sizeof_lk_command]byte{}

// The kinds of barrier.
const (
	BeginBarrier  = C.LK_BEGIN  // earlier work, copies and host writes before what follows
	StageBarrier  = C.LK_STAGE  // dispatches before dispatches
	EndBarrier    = C.LK_END    // what was written before host reads
	UploadBarrier = C.LK_UPLOAD // copies before copies
)

// Bind selects the pipeline of the following dispatches.
func Bind(pipeline uint64) Command { return Command{op: C.LK_BIND, handle: pipeline} }

// Push sets the push constants from size bytes at offset of the recording's push data.
func Push(offset, size int) Command {
	return Command{op: C.LK_PUSH, x: uint32(offset), y: uint32(size)}
}

// Dispatch runs groups workgroups.
func Dispatch(groups [3]uint32) Command {
	return Command{op: C.LK_DISPATCH, x: groups[0], y: groups[1], z: groups[2]}
}

// DispatchIndirect runs as many workgroups as three uint32 in a buffer say.
func DispatchIndirect(buffer, offset uint64) Command {
	return Command{op: C.LK_DISPATCH_INDIRECT, handle: buffer, offset: offset}
}

// Barrier orders memory accesses; kind is one of the constants above.
func Barrier(kind uint32) Command { return Command{op: C.LK_BARRIER, x: kind} }

// Timestamp notes in a query when the dispatches before it were done.
func Timestamp(query int) Command { return Command{op: C.LK_TIMESTAMP, x: uint32(query)} }

// ResetTimestamps makes the first count queries usable again.
func ResetTimestamps(count int) Command { return Command{op: C.LK_RESET_TIMESTAMPS, x: uint32(count)} }

// Copy copies size bytes between buffers.
func Copy(dst, dstOffset, src, srcOffset, size uint64) Command {
	return Command{op: C.LK_COPY, handle: dst, offset: dstOffset, size: size, source: src, srcOff: srcOffset}
}

// Fill repeats a word over size bytes; offset and size are multiples of 4.
func Fill(dst, offset, size uint64, word uint32) Command {
	return Command{op: C.LK_FILL, handle: dst, offset: offset, size: size, x: word}
}
