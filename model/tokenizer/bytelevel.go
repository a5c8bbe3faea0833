package tokenizer

// byteRune is the character that byte-level vocabularies write for each byte: printable Latin-1 stands for itself, the
// other bytes are given the characters from U+0100 on, in order (GPT-2's bytes_to_unicode).
var byteRune = func() (table [256]rune) {
	next := rune(256)
	for b := range table {
		if '!' <= b && b <= '~' || 0xa1 <= b && b <= 0xff && b != 0xad {
			table[b] = rune(b)
		} else {
			table[b] = next
			next++
		}
	}
	return
}()

// runeByte is the inverse of byteRune; -1 for characters that stand for no byte.
var runeByte = func() (table [0x144]int16) {
	for r := range table {
		table[r] = -1
	}
	for b, r := range byteRune {
		table[r] = int16(b)
	}
	return
}()

// appendBytes appends the bytes that a vocabulary entry stands for. An entry with any character outside of the byte alphabet,
// as added tokens may have, stands for itself.
func appendBytes(dst []byte, token string) []byte {
	start := len(dst)
	for _, r := range token {
		if int(r) >= len(runeByte) || runeByte[r] < 0 {
			return append(dst[:start], token...)
		}
		dst = append(dst, byte(runeByte[r]))
	}
	return dst
}
