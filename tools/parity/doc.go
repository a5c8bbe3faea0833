// Package parity holds the kernels and whole models against PyTorch, transformers and PEFT on CUDA.
//
// cases.json is the table of cases, with the limit beside each. generate.py runs them on a CUDA host and writes their
// outputs to testdata/parity; the tests of this package run them here and compare. Inputs are drawn from the cases' names
// on both sides (inputs.py says how). With -update, the test writes what it measured to docs/PARITY.md; without, it checks
// that every case has its row there.
package parity
