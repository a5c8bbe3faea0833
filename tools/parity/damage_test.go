package parity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// smallTable has one case; smallFixtures are good fixtures for it.
func smallTable() *table {
	return &table{Version: 3, Seed: 7, Operators: []map[string]json.RawMessage{{
		"operator": json.RawMessage(`"silu_mul"`), "type": json.RawMessage(`["bf16"]`), "width": json.RawMessage(`[2]`), "rows": json.RawMessage("1"),
		"limit": json.RawMessage(`{"bf16": {"cuda": 0.5, "cuda f32": 0.25}}`),
	}}}
}

const smallCase = "silu_mul/bf16/width 2"

func smallFixtures(t *testing.T) fstest.MapFS {
	var tensors bytes.Buffer
	require.NoError(t, checkpoint.Encode(&tensors, []checkpoint.Tensor{
		{Name: smallCase + "/y cuda", Type: checkpoint.BF16, Shape: []int{1, 2}, Data: shaders.BF16.Encode([]float32{1, 2})},
		{Name: smallCase + "/y cuda f32", Type: checkpoint.F32, Shape: []int{1, 2}, Data: shaders.F32.Encode([]float32{1, 2.5})},
	}, map[string]string{"version": "3"}))
	files := fstest.MapFS{
		"operators/silu_mul.safetensors": {Data: tensors.Bytes()},
		"operators/silu_mul.json": {Data: []byte(`{"version": 3, "cases": {"` + smallCase + `":
			{"operator": "silu_mul", "type": "bf16", "width": 2, "rows": 1, "inputs": {"gate": 1, "up": 2}}}}`)},
	}
	seal(files)
	return files
}

// seal writes the manifest for the files that are there.
func seal(files fstest.MapFS) {
	var list []string
	for name, file := range files {
		if name != "manifest.json" {
			sum := sha256.Sum256(file.Data)
			list = append(list, fmt.Sprintf(`%q: {"bytes": %d, "sha256": %q}`, name, len(file.Data), hex.EncodeToString(sum[:])))
		}
	}
	text := `{"version": 3, "seed": 7, "files": {`
	for i, line := range list {
		if i > 0 {
			text += ", "
		}
		text += line
	}
	files["manifest.json"] = &fstest.MapFile{Data: []byte(text + "}}")}
}

// TestDamagedFixtures holds that a case whose fixture is not what it should be fails, and says why.
func TestDamagedFixtures(t *testing.T) {
	replace := func(files fstest.MapFS, name, old, new string) {
		files[name].Data = bytes.Replace(files[name].Data, []byte(old), []byte(new), 1)
	}
	const manifest, outputs, records = "manifest.json", "operators/silu_mul.safetensors", "operators/silu_mul.json"
	for _, c := range []struct {
		name   string
		damage func(fstest.MapFS)
		want   string // "": none
	}{
		{"good", func(fstest.MapFS) {}, ""},
		{"no manifest", func(f fstest.MapFS) { delete(f, manifest) }, "manifest.json"},
		{"manifest cut short", func(f fstest.MapFS) { f[manifest].Data = f[manifest].Data[:40] }, "manifest.json"},
		{"another version", func(f fstest.MapFS) { replace(f, manifest, `"version": 3`, `"version": 2`) }, "made by version 2 of the generator"},
		{"another seed", func(f fstest.MapFS) { replace(f, manifest, `"seed": 7`, `"seed": 8`) }, "made from seed 8"},
		{"no outputs", func(f fstest.MapFS) { delete(f, outputs) }, "file does not exist"},
		{"outputs cut short", func(f fstest.MapFS) { f[outputs].Data = f[outputs].Data[:len(f[outputs].Data)-1] }, "silu_mul.safetensors: has"},
		{"outputs cut short before the manifest", func(f fstest.MapFS) {
			f[outputs].Data = f[outputs].Data[:len(f[outputs].Data)-1]
			seal(f)
		}, "silu_mul.safetensors: safetensors"},
		{"a changed byte", func(f fstest.MapFS) { f[outputs].Data[len(f[outputs].Data)-1]++ }, "its bytes are not those that were made"},
		{"a file more", func(f fstest.MapFS) { replace(f, manifest, `silu_mul.json`, `silu_mul.jsom`) }, "manifest.json does not know it"},
		{"outputs of another version", func(f fstest.MapFS) {
			replace(f, outputs, `"version":"3"`, `"version":"4"`)
			seal(f)
		}, "silu_mul.safetensors: made by version 4"},
		{"cases of another version", func(f fstest.MapFS) {
			replace(f, records, `"version": 3`, `"version": 1`)
			seal(f)
		}, "silu_mul.json: made by version 1"},
		{"no such case", func(f fstest.MapFS) {
			replace(f, records, "width 2", "width 3")
			seal(f)
		}, "has no such case"},
		{"made from another table", func(f fstest.MapFS) {
			replace(f, records, `"rows": 1`, `"rows": 2`)
			seal(f)
		}, "made with rows 2, cases.json has 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := smallFixtures(t)
			c.damage(files)
			table := smallTable()
			cases, err := table.operatorCases()
			require.NoError(t, err)
			require.Len(t, cases, 1)
			require.Equal(t, smallCase, cases[0].name)
			x, err := openFixtures(fs.FS(files), table).fixture(&cases[0])
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.NoError(t, err)
			got, err := x.output("y", inFloat32)
			require.NoError(t, err)
			require.Equal(t, []float32{1, 2.5}, got)
			own, err := x.ownError()
			require.NoError(t, err)
			require.InDelta(t, 0.5/2.6926, own, 1e-4)
			_, err = x.output("z", inFloat32)
			require.Error(t, err)
		})
	}
}

// TestOtherInputs: an input that is not the one that CUDA had fails the case.
func TestOtherInputs(t *testing.T) {
	x := &trial{fixture: &fixture{name: "case", kind: shaders.F32, record: record{Inputs: map[string]uint32{"x": 1}}}}
	x.input("x", 2, 3, 1, 0)
	require.ErrorContains(t, x.err, `input "x" is not the one`)
}

// TestBadModels: what is wrong with any of a model's files is an error of the model.
func TestBadModels(t *testing.T) {
	files := smallFixtures(t)
	files["models/m/config.json"] = &fstest.MapFile{Data: []byte("{}")}
	seal(files)
	_, err := openFixtures(files, smallTable()).model("m")
	require.ErrorContains(t, err, "models/m/expected.safetensors")
	files["models/m/config.json"].Data = []byte("{} ")
	_, err = openFixtures(files, smallTable()).model("m")
	require.ErrorContains(t, err, "models/m/config.json: has 3 bytes, made with 2")
	delete(files, "models/m/config.json")
	_, err = openFixtures(files, smallTable()).model("m")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
