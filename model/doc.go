// Package model runs Llama-family models on one Vulkan device. llama.go is the
// file to read first: it lists the forward pass, stage by stage.
//
// Words and shapes used throughout:
//
//   - row: one token of one step. A step runs at most Limits.Rows rows.
//   - run: the consecutive rows that one sequence contributes to a step.
//   - lane: the place of a running sequence: its line in the page table and in
//     the buffer of last sampled tokens.
//   - slot: the place of a resident adapter in the adapter table; Base is none.
//   - page: the keys and values of PageTokens tokens in all layers.
//   - tile: up to eight consecutive rows that share a slot.
//   - regime: decode (every row attends by itself) or mixed (prompt chunks as
//     well).
//   - logit row: a row that wants logits, in the order of the runs.
//
// Activations are fp32 matrices [row][column] whose row stride is the width
// rounded up to a multiple of eight; the columns beyond the width stay zero.
// Weights keep the checkpoint's type.
//
// Everything that varies from step to step lives in a step block that the host
// writes through mapped memory; the command buffers are recorded once, at
// start, and replayed. All methods that run steps belong to one goroutine.
package model
