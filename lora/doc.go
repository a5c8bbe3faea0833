// Package lora serves LoRA adapters: it reads PEFT folders (Read), keeps the
// adapters that clients may name (Registry), keeps some of them on the device
// (Residency), and cuts a batch into tiles of rows that share one (Tiles).
//
// An adapter adds y += scale · (B(A x) + bias) to some of the seven projections of
// each layer, to the embedding and to the output head; most have no bias. Which ones, and with which rank and scale, is decided exactly as PEFT
// decides it; what an adapter needs beyond that is refused, never ignored.
package lora
