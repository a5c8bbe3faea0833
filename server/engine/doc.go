// Package engine turns requests into steps of the model: continuous batching,
// chunked prefill beside decode, paged KV, adapters mixed in one batch.
//
// One goroutine, run, owns the sequences, the pages, the adapter slots and the
// device. Everybody else talks to it through an inbox (Submit, control calls)
// and reads results from a Stream; nothing else is shared. The loop is
//
//	admit -> next := launch(schedule()) -> deliver(last) -> last = next
//
// so that the device works on one step while the host delivers the step before
// it. A sampled token stays on the device and feeds the next step there, so the
// host never stands between two steps. With Config.Overlap off, each step is
// delivered before the next is launched: the slow, simple order that the
// overlapped one is tested against.
//
// A sequence gives back its lane, its pages and its slot in one place, vacate,
// once no step in flight refers to it: when it has finished, or when it is
// preempted. The pages that it has filled stay in the prefix cache until they
// are wanted for something else.
package engine
