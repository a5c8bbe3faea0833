//go:build !invariants

package engine

// invariants makes the engine check its books after every step; see the build
// tag of the same name.
const invariants = false
