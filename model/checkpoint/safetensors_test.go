package checkpoint

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// raw is a safetensors file with a header as given and so many bytes of data.
func raw(header string, data int) []byte {
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(file, header...), make([]byte, data)...)
}

// withLength is raw with another length of the header.
func withLength(length uint64, file []byte) []byte {
	binary.LittleEndian.PutUint64(file, length)
	return file
}

const entryA = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`

var malformed = []struct {
	name string
	file []byte
	want string // part of the error
}{
	{"empty", nil, "too short"},
	{"cut in the length", []byte{1, 0, 0}, "too short"},
	{"length zero", raw("", 0), "begin with '{'"},
	{"cut in the header", withLength(60, raw(`{`+entryA, 0)), "60 bytes, but 53 bytes follow"},
	{"length above the limit", withLength(maxJSON+1, raw(`{}`, 8)), "above the limit"},
	{"length wraps", withLength(1<<64-1, raw(`{}`, 8)), "above the limit"},
	{"length negative", withLength(1<<63, raw(`{}`, 8)), "above the limit"},
	{"not JSON", raw(`{hello}`, 0), "invalid character"},
	{"space first", raw(` {}`, 0), "begin with '{'"},
	{"a list", raw(`[]`, 0), "begin with '{'"},
	{"not closed", raw(`{`+entryA, 8), "unexpected EOF"},
	{"trailing comma", raw(`{`+entryA+`,}`, 8), "invalid character"},
	{"two values", raw(`{}{}`, 0), "want the end"},
	{"garbage after", raw(`{} x`, 0), "want the end"},
	{"not UTF-8", raw("{\"\xff\":1}", 0), "UTF-8"},
	{"entry null", raw(`{"a":null}`, 0), `"a"`},
	{"entry a list", raw(`{"a":[]}`, 0), `"a"`},
	{"entry empty", raw(`{"a":{}}`, 0), "want dtype, shape and data_offsets"},
	{"no dtype", raw(`{"a":{"shape":[2],"data_offsets":[0,8]}}`, 8), "want dtype"},
	{"no shape", raw(`{"a":{"dtype":"F32","data_offsets":[0,8]}}`, 8), "want dtype, shape"},
	{"no offsets", raw(`{"a":{"dtype":"F32","shape":[2]}}`, 8), "data_offsets"},
	{"key of another case", raw(`{"a":{"DType":"F32","shape":[2],"data_offsets":[0,8]}}`, 8), `"DType": key is unknown`},
	{"unknown key", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}`, 8), `"x": key is unknown`},
	{"dtype unknown", raw(`{"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}`, 8), `dtype "F31" is unknown`},
	{"dtype lower case", raw(`{"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}}`, 8), `dtype "f32" is unknown`},
	{"dtype a number", raw(`{"a":{"dtype":1,"shape":[2],"data_offsets":[0,8]}}`, 8), "want a string"},
	{"shape null", raw(`{"a":{"dtype":"F32","shape":null,"data_offsets":[0,8]}}`, 8), `"shape"`},
	{"shape negative", raw(`{"a":{"dtype":"F32","shape":[-2,-1],"data_offsets":[0,8]}}`, 8), "non-negative integer"},
	{"shape a fraction", raw(`{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}`, 8), "non-negative integer"},
	{"shape an exponent", raw(`{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}`, 8), "non-negative integer"},
	{"shape of strings", raw(`{"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}`, 8), "non-negative integer"},
	{"shape nested", raw(`{"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}}`, 8), "non-negative integer"},
	{"shape above int64", raw(`{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]}}`, 8), "non-negative integer"},
	{"shape overflows to its size", raw(`{"a":{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}}`, 8), "overflows"},
	{"size overflows to the sign", raw(`{"a":{"dtype":"F32","shape":[2305843009213693952],"data_offsets":[0,8]}}`, 8), "overflows"},
	{"product overflows to zero", raw(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "overflows"},
	{"product overflows twice", raw(`{"a":{"dtype":"U8","shape":[4294967296,4294967296,8],"data_offsets":[0,8]}}`, 8), "overflows"},
	{"deep nesting", raw(`{"a":{"dtype":"F32","shape":`+strings.Repeat("[", 1<<20)+`}}`, 8), "non-negative integer"},
	{"deep nesting in an unknown key", raw(`{"a":{"x":`+strings.Repeat(`{"x":`, 1<<18), 0), "key is unknown"},
	{"offsets one", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}`, 8), "no range"},
	{"offsets three", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}`, 8), "no range"},
	{"offsets empty", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[]}}`, 8), "no range"},
	{"offsets swapped", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, 8), "no range"},
	{"offsets past the data", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 7), "no range of the 7 bytes"},
	{"offsets huge", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[9223372036854775799,9223372036854775807]}}`, 8), "no range"},
	{"offsets negative", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}`, 8), "non-negative integer"},
	{"offsets shorter than the shape", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "takes 8"},
	{"offsets longer than the shape", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,12]}}`, 12), "takes 8"},
	{"scalar too long", raw(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,8]}}`, 8), "takes 4"},
	{"overlap", raw(`{`+entryA+`,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12), "overlaps"},
	{"same range", raw(`{`+entryA+`,"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8), "overlaps"},
	{"empty tensor inside another", raw(`{`+entryA+`,"b":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}`, 8), "overlaps"},
	{"hole first", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}`, 16), "hole of 8 bytes"},
	{"hole between", raw(`{`+entryA+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}`, 16), "hole of 4 bytes"},
	{"data left over", raw(`{`+entryA+`}`, 9), "1 bytes after the last"},
	{"data but no tensor", raw(`{}`, 1), "1 bytes after the last"},
	{"tensor twice", raw(`{`+entryA+`,`+entryA+`}`, 8), `"a" occurs twice`},
	{"tensor twice by escape", raw(`{`+entryA+`,"\u0061":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}`, 16), `"a" occurs twice`},
	{"shape twice", raw(`{"a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,8]}}`, 8), `"shape" occurs twice`},
	{"metadata twice", raw(`{"__metadata__":{},"__metadata__":{}}`, 0), "occurs twice"},
	{"metadata key twice", raw(`{"__metadata__":{"k":"1","k":"2"}}`, 0), `"k" occurs twice`},
	{"metadata a number", raw(`{"__metadata__":{"k":1}}`, 0), "want a string"},
	{"metadata null", raw(`{"__metadata__":null}`, 0), `"__metadata__"`},
}

func TestMalformedFilesAreRefused(t *testing.T) {
	for _, c := range malformed {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseBytes(c.file)
			require.ErrorContains(t, err, c.want)
			require.Less(t, len(err.Error()), 500)
		})
	}
}

func TestUnusualFilesAreAccepted(t *testing.T) {
	for _, c := range []struct {
		name  string
		file  []byte
		names []string
	}{
		{"no tensors", raw(`{}`, 0), nil},
		{"padded header", raw(`{`+entryA+`}       `, 8), []string{"a"}},
		{"a scalar", raw(`{"s":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}`, 8), []string{"s"}},
		{"order unlike the data's", raw(`{"b":{"dtype":"I8","shape":[3],"data_offsets":[8,11]},`+entryA+`}`, 11), []string{"a", "b"}},
		{"empty tensor between", raw(`{`+entryA+`,"e":{"dtype":"F8_E4M3","shape":[0,7],"data_offsets":[8,8]}}`, 8), []string{"a", "e"}},
		{"empty tensor of huge shape", raw(`{"e":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}`, 0), []string{"e"}},
		{"name of any text", raw(`{"\"ü\n":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), []string{"\"ü\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := ParseBytes(c.file)
			require.NoError(t, err)
			require.Equal(t, c.names, f.Names())
		})
	}
}

// TestHugeHeader takes the slowest headers below the limit.
func TestHugeHeader(t *testing.T) {
	_, err := ParseBytes(raw(`{`+strings.Repeat(" ", maxJSON-2)+`}`, 0))
	require.NoError(t, err)
	_, err = ParseBytes(raw(`{"a":{"shape":[1`+strings.Repeat(",1", maxJSON/2-16), 0))
	require.ErrorContains(t, err, "more than 64")
}

// randomTensors are tensors of every type, of up to four dimensions and some of
// them empty.
func randomTensors(t testing.TB) []Tensor {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var list []Tensor
	for dtype := range dtypeSizes {
		shape := make([]int, r.IntN(5))
		for i := range shape {
			shape[i] = r.IntN(6)
		}
		size, err := byteSize(dtype, shape)
		require.NoError(t, err)
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		list = append(list, Tensor{Name: "tensor." + string(dtype), Type: dtype, Shape: shape, Data: data})
	}
	return list
}

func TestWriteAndOpen(t *testing.T) {
	folder := t.TempDir()
	tensors := randomTensors(t)
	metadata := map[string]string{"format": "pt", "quote": `"<&>`}
	require.NoError(t, Write(filepath.Join(folder, "x.safetensors"), tensors, metadata))
	content, err := os.ReadFile(filepath.Join(folder, "x.safetensors"))
	require.NoError(t, err)

	mapped, err := OpenFile(os.DirFS(folder), "x.safetensors")
	require.NoError(t, err)
	require.NotNil(t, mapped.mapped)
	inMemory, err := OpenFile(fstest.MapFS{"x.safetensors": {Data: content}}, "x.safetensors")
	require.NoError(t, err)
	for _, f := range []*File{mapped, inMemory} {
		require.Equal(t, metadata, f.Metadata)
		require.Len(t, f.Names(), len(tensors))
		for _, want := range tensors {
			got, err := f.Tensor(want.Name)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, len(got.Data), cap(got.Data), "append must not write into the file")
		}
		_, err := f.Tensor("absent")
		require.ErrorContains(t, err, `no tensor "absent"`)
		require.NoError(t, f.Close())
		require.NoError(t, f.Close(), "a second Close")
	}
}

func TestOpenFileRefuses(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "empty"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "short"), raw(`{`+entryA+`}`, 7), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(folder, "sub"), 0o700))
	for name, want := range map[string]string{
		"absent": "no such file", "empty": "too short", "short": "no range", "sub": "not a regular file",
	} {
		_, err := OpenFile(os.DirFS(folder), name)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, `"`+name+`"`)
	}
}

func TestDataIsAligned(t *testing.T) {
	for n := range 8 {
		var file bytes.Buffer
		require.NoError(t, Encode(&file, nil, map[string]string{"k": strings.Repeat("v", n)}))
		require.Zero(t, file.Len()%8)
	}
}

func TestEncodeRefuses(t *testing.T) {
	good := Tensor{"a", F32, []int{2}, make([]byte, 8)}
	for _, c := range []struct {
		tensors []Tensor
		want    string
	}{
		{[]Tensor{good, good}, "name is taken"},
		{[]Tensor{{"__metadata__", F32, []int{2}, make([]byte, 8)}}, "name is taken"},
		{[]Tensor{{"a", F32, []int{2}, make([]byte, 7)}}, "takes 8 bytes, got 7"},
		{[]Tensor{{"a", "F31", []int{2}, make([]byte, 8)}}, "unknown"},
		{[]Tensor{{"a", F32, []int{-1}, nil}}, "negative"},
		{[]Tensor{{"a", F32, []int{1 << 62}, nil}}, "overflows"},
	} {
		require.ErrorContains(t, Encode(&bytes.Buffer{}, c.tensors, nil), c.want)
	}
}
