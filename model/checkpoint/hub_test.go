package checkpoint

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// fill writes files below a folder.
func fill(t testing.TB, folder string, files map[string][]byte) {
	for name, content := range files {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
}

// hub makes a hub cache with the model "org/model" in it, laid out as the
// Hugging Face tools do: files are links to blobs.
func hub(t testing.TB, cache string) (snapshot string) {
	repo := filepath.Join(cache, "models--org--model")
	fill(t, repo, map[string][]byte{
		"refs/main":      []byte(commit),
		"blobs/config":   tiny(t, nil),
		"blobs/weights":  weights(t, tinyConfig),
		"snapshots/stay": nil,
	})
	snapshot = filepath.Join(repo, "snapshots", commit)
	require.NoError(t, os.Mkdir(snapshot, 0o700))
	require.NoError(t, os.Symlink("../../blobs/config", filepath.Join(snapshot, "config.json")))
	require.NoError(t, os.Symlink("../../blobs/weights", filepath.Join(snapshot, "model.safetensors")))
	return snapshot
}

// cacheAt points the hub cache to a folder by one of the variables.
func cacheAt(t *testing.T, variable, folder string) {
	for _, name := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"} {
		t.Setenv(name, "")
	}
	t.Setenv(variable, folder)
	t.Chdir(t.TempDir())
}

func TestHubCachePlaces(t *testing.T) {
	for variable, below := range map[string]string{
		"HF_HUB_CACHE":          "",
		"HUGGINGFACE_HUB_CACHE": "",
		"HF_HOME":               "hub",
		"XDG_CACHE_HOME":        "huggingface/hub",
		"HOME":                  ".cache/huggingface/hub",
	} {
		t.Run(variable, func(t *testing.T) {
			folder := t.TempDir()
			want := hub(t, filepath.Join(folder, below))
			cacheAt(t, variable, folder)
			got, err := ResolveFolder("org/model")
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestHubModelOpens(t *testing.T) {
	folder := t.TempDir()
	hub(t, folder)
	cacheAt(t, "HF_HUB_CACHE", folder)
	config, err := OpenConfig("org/model")
	require.NoError(t, err)
	require.Equal(t, tinyConfig, config)
	c, err := Open("org/model")
	require.NoError(t, err)
	require.NoError(t, c.Check())
	require.NoError(t, c.Close())
}

func TestFolderWinsOverHub(t *testing.T) {
	folder := t.TempDir()
	hub(t, folder)
	cacheAt(t, "HF_HUB_CACHE", folder)
	require.NoError(t, os.MkdirAll("org/model", 0o700))
	got, err := ResolveFolder("org/model")
	require.NoError(t, err)
	require.Equal(t, "org/model", got)
}

func TestHubErrorsSayWhereAndHow(t *testing.T) {
	folder := t.TempDir()
	fill(t, folder, map[string][]byte{
		"models--org--gone/refs/main":           []byte(commit),
		"models--org--file/refs/main":           []byte(commit),
		"models--org--file/snapshots/" + commit: nil,
		"models--org--climbs/refs/main":         []byte("../../../org"),
		"models--org--empty/refs/main":          nil,
	})
	cacheAt(t, "HF_HUB_CACHE", folder)
	require.NoError(t, os.WriteFile("weights.safetensors", nil, 0o600))
	for name, want := range map[string]string{
		"org/absent":          filepath.Join(folder, "models--org--absent/refs/main"),
		"absent":              filepath.Join(folder, "models--absent/refs/main"),
		"org/gone":            filepath.Join("models--org--gone/snapshots", commit),
		"org/file":            filepath.Join("models--org--file/snapshots", commit),
		"org/climbs":          "is no revision",
		"org/empty":           "is no revision",
		"./absent":            "no such file",
		"/absent/model":       "no such file",
		"../absent":           "no such file",
		"a/b/c":               "no such file",
		"":                    "no such file",
		"weights.safetensors": "is a file",
	} {
		_, err := ResolveFolder(name)
		require.ErrorContains(t, err, want, name)
		if hubName.MatchString(name) && name != "weights.safetensors" {
			require.ErrorContains(t, err, "hf download "+name)
		}
		_, err = Open(name)
		require.ErrorContains(t, err, want, name)
		_, err = OpenConfig(name)
		require.ErrorContains(t, err, want, name)
	}
}
