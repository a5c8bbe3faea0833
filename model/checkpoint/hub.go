package checkpoint

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	hubName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$`)
	revision = regexp.MustCompile(`^[A-Za-z0-9]+$`)
)

// ResolveFolder finds the folder of a model or adapter. path is a folder, or a
// hub name such as "org/model", which is looked up in the local Hugging Face
// cache: HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else
// ~/.cache/huggingface/hub. Nothing is downloaded.
func ResolveFolder(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return path, nil
	case err == nil:
		return "", fmt.Errorf("checkpoint: %q is a file, want a folder or a hub name", path)
	case !hubName.MatchString(path):
		return "", fmt.Errorf("checkpoint: folder: %w", err)
	}
	cache, err := hubCache()
	if err != nil {
		return "", fmt.Errorf("checkpoint: no folder %q, and no hub cache: %w", path, err)
	}
	folder, err := snapshot(cache, path)
	if err != nil {
		return "", fmt.Errorf("checkpoint: no folder %q, and not in the hub cache (%w); get it with `hf download %s`", path, err, path)
	}
	return folder, nil
}

// hubCache is where the Hugging Face tools keep what they download.
func hubCache() (string, error) {
	for _, place := range []struct{ variable, below string }{
		{"HF_HUB_CACHE", ""},
		{"HUGGINGFACE_HUB_CACHE", ""},
		{"HF_HOME", "hub"},
		{"XDG_CACHE_HOME", "huggingface/hub"},
	} {
		if folder := os.Getenv(place.variable); folder != "" {
			return filepath.Join(folder, place.below), nil
		}
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".cache/huggingface/hub"), err
}

// snapshot is the folder of the revision that "main" names.
func snapshot(cache, name string) (string, error) {
	repo := filepath.Join(cache, "models--"+strings.ReplaceAll(name, "/", "--"))
	ref, err := os.ReadFile(filepath.Join(repo, "refs", "main"))
	if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(ref))
	if !revision.MatchString(commit) {
		return "", fmt.Errorf("%s: %q is no revision", filepath.Join(repo, "refs", "main"), commit)
	}
	folder := filepath.Join(repo, "snapshots", commit)
	info, err := os.Stat(folder)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: folder, Err: fs.ErrInvalid}
	}
	return folder, err
}
