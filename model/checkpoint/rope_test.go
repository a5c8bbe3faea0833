package checkpoint

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The numbers were computed with 40 decimal digits from the formula as
// transformers writes it: by wavelength 2π/f, unchanged below
// original/high_freq_factor, divided by factor above original/low_freq_factor.
var llama3Cases = []struct {
	name string
	c    Config
	want map[int]float64 // by pair
}{
	{"llama 3.1 8B", Config{HeadDim: 128, Rope: Rope{Theta: 500000, Scaling: RopeLlama3, Factor: 8, OriginalPositions: 8192, LowFreq: 1, HighFreq: 4}}, map[int]float64{
		0:  1,
		1:  8.1461723385654472e-01,
		16: 3.7606030930863933e-02,
		28: 3.2114459947525909e-03, // the last that stays
		29: 2.1665707635033587e-03, // the first that is blended
		30: 1.3718935677611381e-03,
		31: 8.5675141291963208e-04,
		32: 5.2484616099295468e-04,
		33: 3.1269375038406512e-04,
		34: 1.7850781276799641e-04, // the last that is blended
		35: 9.5562123539646833e-05, // the first that is divided
		48: 6.6478698711812354e-06,
		63: 3.0689259889145111e-07,
	}},
	{"llama 3.2 1B", Config{HeadDim: 64, Rope: Rope{Theta: 500000, Scaling: RopeLlama3, Factor: 32, OriginalPositions: 8192, LowFreq: 1, HighFreq: 4}}, map[int]float64{
		0:  1,
		14: 3.2114459947525909e-03,
		15: 1.2905479282092638e-03,
		16: 4.2955679655936821e-04,
		17: 9.7082878026276729e-05,
		31: 9.4183067254349100e-08,
	}},
}

func TestLlama3Frequencies(t *testing.T) {
	for _, c := range llama3Cases {
		t.Run(c.name, func(t *testing.T) {
			f := RopeFrequencies(c.c)
			require.Len(t, f, c.c.HeadDim/2)
			for pair, want := range c.want {
				require.InEpsilon(t, want, f[pair], 1e-13, "pair %d", pair)
			}
		})
	}
}

// TestScalingNeverCrosses: scaled frequencies fall from pair to pair and stay
// between a factor'th of the unscaled ones and those.
func TestScalingNeverCrosses(t *testing.T) {
	for _, c := range llama3Cases {
		scaled := RopeFrequencies(c.c)
		c.c.Rope.Scaling = RopeDefault
		for i, f := range RopeFrequencies(c.c) {
			require.LessOrEqual(t, scaled[i], f)
			require.GreaterOrEqual(t, scaled[i], f/c.c.Rope.Factor)
			require.True(t, i == 0 || scaled[i] < scaled[i-1])
		}
	}
}

func TestDefaultAndLinearFrequencies(t *testing.T) {
	// 10000^(-2i/6), in closed form.
	want := []float64{1, math.Cbrt(1e-4), math.Cbrt(1e-8)}
	c := Config{HeadDim: 6, Rope: Rope{Theta: 10000, Scaling: RopeDefault, Factor: 1}}
	require.InEpsilonSlice(t, want, RopeFrequencies(c), 1e-14)
	for i := range want {
		want[i] /= 2.5
	}
	c.Rope.Scaling, c.Rope.Factor = RopeLinear, 2.5
	require.InEpsilonSlice(t, want, RopeFrequencies(c), 1e-14)
}
