package reference

// Adjustment is what becomes of one logit.
type Adjustment struct {
	Token       int
	Factor, Add float64
}

// Adjust returns the logits with some changed: x / factor + add where x > 0, else x * factor + add.
func Adjust(logits []float64, list []Adjustment) []float64 {
	out := append([]float64{}, logits...)
	for _, a := range list {
		x := logits[a.Token]
		if x > 0 {
			x /= a.Factor
		} else {
			x *= a.Factor
		}
		out[a.Token] = x + a.Add
	}
	return out
}
