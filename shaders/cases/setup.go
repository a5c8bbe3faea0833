package cases

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"unsafe"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

// poison is a NaN that no kernel produces; an output word that still holds it was never written.
const poison = 0x7fc0dead

// Setup hands a case its device memory and random numbers. The first error sticks and Prepare returns it, so that
// building reads without error checks.
type Setup struct {
	Kernels *shaders.Kernels
	Random  *rand.Rand

	device *compute.Device
	arena  *compute.Arena
	err    error
}

func newSetup(device *compute.Device, kernels *shaders.Kernels, seed uint64) *Setup {
	return &Setup{
		Kernels: kernels,
		Random:  rand.New(rand.NewPCG(seed, 0)),
		device:  device,
		arena:   device.NewArena("cases", compute.Local, 16<<20),
	}
}

// Close frees the case's memory.
func (s *Setup) Close() { s.arena.Close() }

func (s *Setup) fail(err error) {
	if s.err == nil && err != nil {
		s.err = err
	}
}

// Alloc returns device memory of the given bytes, every word poisoned.
func (s *Setup) Alloc(bytes int) compute.Span {
	if s.err != nil {
		return compute.Span{}
	}
	span, err := s.arena.Alloc(int64(max(bytes, 4)+3) &^ 3)
	if err != nil {
		s.fail(err)
		return compute.Span{}
	}
	s.fail(s.device.Fill(span, poison))
	return span
}

// Bytes returns device memory that holds data.
func (s *Setup) Bytes(data []byte) compute.Span {
	span := s.Alloc(len(data))
	if s.err == nil && len(data) > 0 {
		s.fail(s.device.Upload(span.Slice(0, int64(len(data))), data))
	}
	return span
}

// Place returns the address of device memory that holds the values: uint32, float32 or a GPU struct.
func Place[T any](s *Setup, values []T) uint64 {
	return address(s.Bytes(bytesOf(values)))
}

// Read downloads n values from the front of the span.
func Read[T any](s *Setup, span compute.Span, n int) ([]T, error) {
	out := make([]T, n)
	data := bytesOf(out)
	if err := s.device.Download(data, span.Slice(0, int64(len(data)))); err != nil {
		return nil, err
	}
	return out, nil
}

// ReadType downloads n elements of the type.
func (s *Setup) ReadType(span compute.Span, n int, t shaders.Type) ([]float32, error) {
	data, err := Read[byte](s, span, n*t.Size())
	return t.Decode(data), err
}

func bytesOf[T any](values []T) []byte {
	var zero T
	if len(values) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*int(unsafe.Sizeof(zero)))
}

func address(span compute.Span) uint64 {
	if span.Buffer == nil {
		return 0
	}
	return span.Address()
}

// Pad8 rounds up to the multiple of 8 that rows are padded to.
func Pad8(n int) int { return (n + 7) &^ 7 }

// normal fills a matrix with values of the given spread, rounded to the type.
func (s *Setup) normal(rows, columns int, t shaders.Type, spread float64) reference.Matrix {
	m := reference.NewMatrix(rows, columns)
	for i := range m.Values {
		m.Values[i] = float64(t.Round(float32(s.Random.NormFloat64() * spread)))
	}
	return m
}

// padded lays the matrix out in rows of the stride, pad zero.
func padded(m reference.Matrix, stride int) []float32 {
	out := make([]float32, m.Rows*stride)
	for r := range m.Rows {
		for c, v := range m.Row(r) {
			out[r*stride+c] = float32(v)
		}
	}
	return out
}

// dirty is padded with NaN in the pad, for inputs whose pad a kernel must not let through.
func dirty(m reference.Matrix, stride int) []float32 {
	out := padded(m, stride)
	for r := range m.Rows {
		for c := m.Columns; c < stride; c++ {
			out[r*stride+c] = float32(math.NaN())
		}
	}
	return out
}

// Weights places a random matrix of the type and returns it with its values.
func (s *Setup) Weights(rows, columns int, t shaders.Type, spread float64) (shaders.Matrix, reference.Matrix) {
	m := s.normal(rows, columns, t, spread)
	stride := Pad8(columns)
	span := s.Bytes(t.Encode(padded(m, stride)))
	return shaders.Matrix{Address: address(span), Stride: stride, Type: t}, m
}

// Activations places random fp32 rows and returns them with their memory and values.
func (s *Setup) Activations(rows, columns int) (shaders.Rows, compute.Span, reference.Matrix) {
	return s.Scaled(rows, columns, 1)
}

// Scaled is Activations with another standard deviation.
func (s *Setup) Scaled(rows, columns int, deviation float64) (shaders.Rows, compute.Span, reference.Matrix) {
	m := s.normal(rows, columns, shaders.F32, deviation)
	stride := Pad8(columns)
	span := s.Bytes(shaders.F32.Encode(padded(m, stride)))
	return shaders.Rows{Address: address(span), Stride: stride}, span, m
}

// Output places poisoned fp32 rows.
func (s *Setup) Output(rows, columns int) (shaders.Rows, compute.Span) {
	stride := Pad8(columns)
	span := s.Alloc(4 * rows * stride)
	return shaders.Rows{Address: address(span), Stride: stride}, span
}

// Norm places what a kernel needs to read x through an RMS norm: random gamma of the type and x's partial sums of
// squares. The second result is gamma's values.
func (s *Setup) Norm(x reference.Matrix, t shaders.Type, eps float32) (shaders.Norm, []float64) {
	gamma := s.normal(1, x.Columns, t, 0.2)
	for i, v := range gamma.Values {
		gamma.Values[i] = float64(t.Round(float32(1 + v)))
	}
	squares := reference.Squares(x, shaders.SquaresBlock)
	return shaders.Norm{
		Weight:  address(s.Bytes(t.Encode(padded(gamma, Pad8(x.Columns))))),
		Squares: address(s.Bytes(shaders.F32.Encode(padded(squares, squares.Columns)))),
		Parts:   squares.Columns,
		Width:   x.Columns,
		Eps:     eps,
	}, gamma.Values
}

// output is fp32 rows of a stride in device memory, and what they should hold.
type output struct {
	span   compute.Span
	stride int
	want   reference.Matrix
}

// worst compares outputs and returns the largest relative error.
func (s *Setup) worst(outputs ...output) (float64, error) {
	var largest float64
	for _, o := range outputs {
		relative, err := s.CompareRows(o.span, o.stride, o.want)
		if err != nil {
			return 0, err
		}
		largest = max(largest, relative)
	}
	return largest, nil
}

// CompareRows downloads rows of the stride and compares their first columns with want. Pad columns up to the next
// multiple of 8 have to be zero.
func (s *Setup) CompareRows(span compute.Span, stride int, want reference.Matrix) (float64, error) {
	got, err := Read[float32](s, span, want.Rows*stride)
	if err != nil {
		return 0, err
	}
	dense := make([]float32, 0, len(want.Values))
	for r := range want.Rows {
		row := got[r*stride:]
		dense = append(dense, row[:want.Columns]...)
		for _, pad := range row[want.Columns:min(Pad8(want.Columns), stride)] {
			if pad != 0 {
				return math.Inf(1), nil
			}
		}
	}
	return RelativeError(dense, want.Values), nil
}

// RelativeError is ‖got-want‖/‖want‖ (‖got‖ when want is zero), +Inf when got holds anything but finite numbers.
func RelativeError(got []float32, want []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var difference, norm float64
	for i, w := range want {
		d := float64(got[i]) - w
		difference += d * d
		norm += w * w
	}
	if norm == 0 {
		norm = 1
	}
	if result := math.Sqrt(difference / norm); !math.IsNaN(result) {
		return result
	}
	return math.Inf(1)
}

// poisoned reports whether every word of data is untouched.
func poisoned(data []byte) bool {
	for len(data) >= 4 {
		if binary.LittleEndian.Uint32(data) != poison {
			return false
		}
		data = data[4:]
	}
	return true
}
