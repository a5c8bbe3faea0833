package checkpoint

import "math"

// Scaling is how the frequencies of rotary embedding are stretched so that more
// positions fit than the model was first trained for.
type Scaling string

// The kinds of scaling, by their names in config.json.
const (
	RopeDefault Scaling = "default" // none
	RopeLinear  Scaling = "linear"  // every frequency by Factor
	RopeLlama3  Scaling = "llama3"  // low frequencies by Factor, high ones not
)

// Rope says how positions turn into the angles of rotary embedding.
type Rope struct {
	Theta   float64
	Scaling Scaling
	Factor  float64 // at least 1; 1 where Scaling is default

	// The context of the first training; 0 where a linear scaling leaves it out.
	OriginalPositions int
	// Llama3 alone: a frequency that turns more than HighFreq times over
	// OriginalPositions stays, one that turns less than LowFreq times is divided
	// by Factor, and between the two it is blended.
	LowFreq, HighFreq float64
}

// readRope reads rope_theta and rope_scaling, or rope_parameters, which
// transformers 5 writes for both.
func readRope(f fields) Rope {
	p := f.object("rope_scaling")
	if len(p.raw) == 0 {
		p = f.object("rope_parameters")
	}
	r := Rope{Theta: f.positiveOr("rope_theta", 10000), Factor: 1, Scaling: RopeDefault}
	r.Theta = p.positiveOr("rope_theta", r.Theta)
	kind := "rope_type"
	if !p.has(kind) && p.has("type") {
		kind = "type" // its name before transformers 4.43
	}
	otherwise := ""
	if len(p.raw) == 0 || p.has("rope_theta") {
		otherwise = string(RopeDefault)
	}
	const original = "original_max_position_embeddings"
	r.Scaling = Scaling(p.oneOf(kind, otherwise, string(RopeDefault), string(RopeLinear), string(RopeLlama3)))
	switch r.Scaling {
	case RopeLinear:
		r.Factor = p.positive("factor")
		r.OriginalPositions = p.sizeOr(original, maxSize, 0)
	case RopeLlama3:
		r.Factor = p.positive("factor")
		r.OriginalPositions = p.size(original, maxSize)
		r.LowFreq = p.positive("low_freq_factor")
		r.HighFreq = p.positive("high_freq_factor")
		if r.HighFreq <= r.LowFreq {
			p.want("high_freq_factor", "a number above low_freq_factor")
		}
	}
	if r.Factor < 1 {
		p.want("factor", "a number of at least 1")
	}
	if p.positiveOr("partial_rotary_factor", 1) != 1 {
		p.want("partial_rotary_factor", "1: rotary embedding of a part of the head is not supported")
	}
	return r
}

// RopeFrequencies are the angles, in radians per position, by which rotary
// embedding turns each pair of a head: element i, i < HeadDim/2, belongs to the
// components i and i + HeadDim/2.
//
//	default: f(i) = Theta^(-2i / HeadDim)
//	linear:  f(i) / Factor
//	llama3:  with n = OriginalPositions * f(i) / 2π turns over the original
//	         context and s = (n - LowFreq) / (HighFreq - LowFreq) cut to [0, 1]:
//	         s * f(i) + (1 - s) * f(i) / Factor
//
// These are the formulas of transformers' modeling_rope_utils.py
// (_compute_default_rope_parameters, _compute_linear_scaling_rope_parameters,
// _compute_llama3_parameters), in float64.
func RopeFrequencies(c Config) []float64 {
	f := make([]float64, c.HeadDim/2)
	for i := range f {
		f[i] = c.Rope.scale(math.Pow(c.Rope.Theta, -2*float64(i)/float64(c.HeadDim)))
	}
	return f
}

func (r Rope) scale(f float64) float64 {
	switch r.Scaling {
	case RopeLinear:
		return f / r.Factor
	case RopeLlama3:
		turns := float64(r.OriginalPositions) * f / (2 * math.Pi)
		s := (turns - r.LowFreq) / (r.HighFreq - r.LowFreq)
		s = min(max(s, 0), 1)
		return s*f + (1-s)*f/r.Factor
	}
	return f
}
