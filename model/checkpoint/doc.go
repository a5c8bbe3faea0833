// Package checkpoint reads Hugging Face model folders: config.json, the
// safetensors files with the weights, and the local hub cache in which a name
// such as "org/model" finds its folder.
//
// Everything it reads counts as hostile: a file either passes every check or is
// refused with the reason, and nothing that a file claims is allocated or
// indexed before it was checked. The weights of a model are memory-mapped, never
// copied. A file that may change while it is open must not be mapped: ReadHeader
// leaves its data where it is, to be read tensor by tensor.
package checkpoint
