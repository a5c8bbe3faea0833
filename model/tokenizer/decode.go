package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder is tokenizer.json's decoder: either ByteLevel, or Replace, ByteFallback, Fuse and Strip in this order, each of
// which may be missing.
type decoder struct {
	byteLevel    bool
	replace      normalizer // applied to each token
	byteFallback bool
	strip        rune // taken off the start of the text,
	stripCount   int  // up to this many times
}

func newDecoder(c *component) (decoder, error) {
	if c == nil {
		return decoder{}, fmt.Errorf("there is none")
	}
	if c.Type == "ByteLevel" {
		return decoder{byteLevel: true}, nil
	}
	if c.Type != "Sequence" {
		return decoder{}, fmt.Errorf("type %q is not supported", c.Type)
	}
	var d decoder
	order := []string{"Replace", "ByteFallback", "Fuse", "Strip"}
	fused := false
	for i := range c.Decoders {
		step := &c.Decoders[i]
		for len(order) > 0 && order[0] != step.Type {
			order = order[1:]
		}
		if len(order) == 0 {
			return decoder{}, fmt.Errorf("step %d of type %q is not supported in this place", i, step.Type)
		}
		switch step.Type {
		case "Replace":
			replace, err := newReplace(step)
			if err != nil {
				return decoder{}, err
			}
			d.replace.steps = append(d.replace.steps, replace)
		case "ByteFallback":
			d.byteFallback = true
		case "Fuse":
			fused = true
		case "Strip":
			if !fused || d.stripCount > 0 || step.Stop != 0 || step.Start < 0 || utf8.RuneCountInString(step.Content) != 1 {
				return decoder{}, fmt.Errorf("only one Strip, of one character at the start of the whole text, is supported")
			}
			d.strip, _ = utf8.DecodeRuneInString(step.Content)
			d.stripCount = step.Start
		}
	}
	return d, nil
}

// Decode returns the text of ids. With skipSpecial, special tokens are left out. Ids outside of the vocabulary add nothing;
// bytes that are not UTF-8 come out as U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	d := t.NewDecoder(skipSpecial)
	var out []byte
	for _, id := range ids {
		out = d.push(out, id)
	}
	return string(d.flush(out))
}

// Decoder decodes a stream of ids. What its calls return, joined, equals the Decode of all ids, and each call returns whole
// characters. It is not safe for concurrent use.
type Decoder struct {
	t           *Tokenizer
	skipSpecial bool
	held        []byte // bytes that later ids may complete
	stripped    int    // characters taken off the start so far
	started     bool   // nothing is taken off any more
}

// NewDecoder starts an incremental Decode.
func (t *Tokenizer) NewDecoder(skipSpecial bool) *Decoder {
	return &Decoder{t: t, skipSpecial: skipSpecial}
}

// Push returns the text that id completes; often it is the text of id itself. A run of byte tokens of a SentencePiece-style
// vocabulary is held back until it ends, as one bad byte in it spoils all of it.
func (d *Decoder) Push(id int32) string { return string(d.push(nil, id)) }

// Flush returns the text still held back, and makes the decoder ready for another stream.
func (d *Decoder) Flush() string { return string(d.flush(nil)) }

// Bytes returns the bytes that a token stands for, of which several may make up a character, and what a special token is written as.
// Those of all tokens of a text, joined, are the text, but for spaces that the decoder strips off its beginning.
func (t *Tokenizer) Bytes(id int32) []byte {
	token := t.TokenText(id)
	if t.decoder.byteLevel {
		return appendBytes(nil, token)
	}
	token = t.decoder.replace.apply(token)
	if b, ok := byteToken(token); ok && t.decoder.byteFallback {
		return []byte{b}
	}
	return []byte(token)
}

func (d *Decoder) push(out []byte, id int32) []byte {
	token := d.t.TokenText(id)
	if token == "" || d.skipSpecial && d.t.special[id] {
		return out
	}
	c := &d.t.decoder
	if c.byteLevel {
		d.held = appendBytes(d.held, token)
		return d.release(out, false)
	}
	token = c.replace.apply(token)
	if b, ok := byteToken(token); ok && c.byteFallback {
		d.held = append(d.held, b)
		return out
	}
	return append(d.releaseRun(out), d.strip(token)...)
}

func (d *Decoder) flush(out []byte) []byte {
	if d.t.decoder.byteLevel {
		out = d.release(out, true)
	} else {
		out = d.releaseRun(out)
	}
	d.held, d.stripped, d.started = d.held[:0], 0, false
	return out
}

// release appends the held characters that are whole. Each longest stretch that begins like a character but does not go on
// like one becomes U+FFFD; at the end of the stream an unfinished character does, too.
func (d *Decoder) release(out []byte, end bool) []byte {
	p := d.held
	for len(p) > 0 && (end || utf8.FullRune(p)) {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			for n < len(p) && !utf8.FullRune(p[:n+1]) {
				n++
			}
		}
		out = utf8.AppendRune(out, r)
		p = p[n:]
	}
	d.held = d.held[:copy(d.held, p)]
	return out
}

// releaseRun appends a finished run of byte tokens: its text, or U+FFFD for each byte if it is not UTF-8.
func (d *Decoder) releaseRun(out []byte) []byte {
	if len(d.held) == 0 {
		return out
	}
	text := string(d.held)
	if !utf8.ValidString(text) {
		text = strings.Repeat("\uFFFD", len(text))
	}
	d.held = d.held[:0]
	return append(out, d.strip(text)...)
}

// strip takes off what the decoder's Strip step does.
func (d *Decoder) strip(text string) string {
	c := &d.t.decoder
	for !d.started && text != "" {
		r, n := utf8.DecodeRuneInString(text)
		if r != c.strip || d.stripped == c.stripCount {
			d.started = true
			break
		}
		d.stripped++
		text = text[n:]
	}
	return text
}

// byteToken reads a token of the form <0x41>.
func byteToken(token string) (byte, bool) {
	if len(token) != 6 || token[:3] != "<0x" || token[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(b), err == nil
}
