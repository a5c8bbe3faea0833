package lora

import (
	"errors"
	"fmt"
	"strings"
)

// ErrRefused matches the errors that are the caller's doing: a name that is not
// known or taken, an adapter that cannot be served, a limit that is reached.
var ErrRefused = errors.New("lora: refused")

// ErrDisabled refuses to load and unload adapters in a server without them.
var ErrDisabled = refuse("LoRA is not enabled. Please set `--enable-lora` to enable LoRA.")

// Disabled refuses a request for an adapter in a server without them.
func Disabled(name string) error {
	return refuse("LoRA adapter '%s' was requested, but LoRA is not enabled. Please launch the server with --enable-lora flag "+
		"and preload adapters using --lora-paths or /load_lora_adapter endpoint.", shortened(name))
}

// refusal is an error that clients of SGLang look for, in its words.
type refusal struct{ err error }

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

func (r refusal) Error() string        { return r.err.Error() }
func (r refusal) Unwrap() error        { return errors.Unwrap(r.err) }
func (r refusal) Is(target error) bool { return target == ErrRefused }

func refuseLoaded(name string) error {
	return refuse("Failed to load LoRA adapter %s because it is already loaded", name)
}

func refuseReload(name string, err error) error {
	return refuse("Failed to implicitly load LoRA adapter %s: %w", name, err)
}

func refusePinned(name string) error {
	return refuse("Failed to load LoRA adapter %s as a pinned adapter. It is not allowed to pin all slots in the LoRA memory pool "+
		"to avoid starvation for unpinned adapters and base models. Raise `--max-loras-per-batch` or load it unpinned.", name)
}

func refuseEviction() error {
	return refuse("Didn't find any LoRA adapters when trying to evict LRU LoRA adapter. " +
		"`--max-loaded-loras` are loaded, and all of them are pinned.")
}

// Unknown refuses a request for an adapter that was never loaded, or is forgotten.
func Unknown(name string, known []string) error {
	return refuse("Got LoRA adapter that has never been loaded: %s\nAll loaded adapters: dict_keys(%s).", shortened(name), pythonList(known))
}

func refuseUnload(name string, loaded []string) error {
	return refuse("LoRA with name %s does not exist. Loaded LoRAs: odict_keys(%s)", shortened(name), pythonList(loaded))
}

// shortened is a name as far as an adapter may be called so.
func shortened(name string) string {
	if len(name) <= maxNameBytes {
		return name
	}
	return strings.ToValidUTF8(name[:maxNameBytes], "") + "..."
}

func refuseTooMany(distinct, limit int) error {
	return refuse("Received request with %d unique loras requested but max loaded loras is %d", distinct, limit)
}

func refuseFit(name string, rank int, why string) error {
	return refuse("LoRA adapter %s with rank %d is incompatible with the current LoRA memory pool configuration. "+
		"Please ensure that the LoRA adapter's rank is within the configured `--max-lora-rank` and that the target modules "+
		"are included in `--lora-target-modules`. (%s)", name, rank, why)
}

func refuseFeature(name, what string) error {
	return refuse("Failed to load %s because LoRA serving currently doesn't support %s", name, what)
}

func refuseName(name string) error {
	return refuse("lora_name must be at most %d bytes, got %d", maxNameBytes, len(name))
}

// maxListed is how many names a message lists.
const maxListed = 50

// pythonList writes names as Python does. There may be many thousands, of which a message says the first only.
func pythonList(names []string) string {
	var quoted []string
	for i, name := range names {
		if i == maxListed {
			quoted = append(quoted, "...")
			break
		}
		quoted = append(quoted, "'"+name+"'")
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
