package compute

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrCache matches what Close returns where all went well but that the pipeline cache could not be saved: it costs the next start time.
var ErrCache = errors.New("compute: save the pipeline cache")

// loadCache creates the pipeline cache, from the file of an earlier process where there is one. The driver checks the content and
// ignores what another driver or version wrote.
func (d *Device) loadCache() {
	var data []byte
	if d.options.CachePath != "" {
		data, _ = os.ReadFile(d.options.CachePath) // a missing or unreadable cache only costs time
	}
	if r := d.native.LoadCache(data); r != 0 {
		d.native.LoadCache(nil)
	}
}

// saveCache writes the pipeline cache so that a reader never meets half a file.
func (d *Device) saveCache() error {
	path := d.options.CachePath
	if path == "" {
		return nil
	}
	data, r := d.native.CacheData()
	if r != 0 {
		return check(r, "read the pipeline cache")
	}
	if err := writeFile(path, data); err != nil {
		return fmt.Errorf("%w: %w", ErrCache, err)
	}
	return nil
}

func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
