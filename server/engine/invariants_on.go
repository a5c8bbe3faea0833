//go:build invariants

package engine

// invariants makes the engine check its books after every step, and panic when
// they do not balance.
const invariants = true
