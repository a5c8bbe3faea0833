package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/server/engine"
)

// pipes is a listener without a network, so that time can be a bubble's.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// bubble serves a fake engine in a bubble and returns a connection to it. Nothing is buffered between the two ends: what the
// test does not read, the server has not written.
func bubble(t *testing.T, e *fakeEngine, test func(client net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		s := New(Config{ContextLength: 1 << 20, VocabSize: fakeVocab, Logger: slog.New(slog.DiscardHandler)}, e, byteTokenizer{})
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- Serve(ctx, l, s, time.Second) }()
		client, theirs := net.Pipe()
		l.connections <- theirs
		test(client)
		client.Close()
		stop()
		require.NoError(t, <-served)
	})
}

func write(t *testing.T, c net.Conn, format string, args ...any) {
	_, err := fmt.Fprintf(c, format, args...)
	require.NoError(t, err)
}

// gone is how long the server keeps a connection from which nothing comes and to which nothing can be written.
func gone(t *testing.T, c net.Conn, start time.Time) time.Duration {
	_, err := io.Copy(io.Discard, c)
	require.NoError(t, err)
	return time.Since(start).Truncate(time.Second) // the server lingers for half a second
}

func TestSlowHeader(t *testing.T) {
	bubble(t, &fakeEngine{}, func(c net.Conn) {
		start := time.Now()
		write(t, c, "POST /generate HTTP/1.1\r\nHost")
		require.Equal(t, headerTimeout, gone(t, c, start))
	})
}

func TestSlowBody(t *testing.T) {
	for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
		bubble(t, &fakeEngine{}, func(c net.Conn) {
			start := time.Now()
			write(t, c, "POST /generate HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", length)
			if strings.HasPrefix(length, "T") {
				write(t, c, "3e8\r\n")
			}
			go func() { // a byte every ten seconds is not enough
				for range 5 {
					time.Sleep(10 * time.Second)
					_, _ = c.Write([]byte("{"))
				}
			}()
			answers := bufio.NewReader(c)
			res, err := http.ReadResponse(answers, nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusRequestTimeout, res.StatusCode)
			require.Equal(t, bodyTimeout, time.Since(start))
			text, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.Contains(t, string(text), "the request body did not arrive within 1m0s")
			require.Equal(t, bodyTimeout, gone(t, c, start))
		})
	}
}

// TestAnAnswerMayTakeLongerThanABody has the first token come an hour after the request.
func TestAnAnswerMayTakeLongerThanABody(t *testing.T) {
	for _, stream := range []bool{false, true} {
		e := &fakeEngine{script: func(engine.Request) []engine.Update { return nil }, late: time.Hour}
		bubble(t, e, func(c net.Conn) {
			body := fmt.Sprintf(`{"text":"a","stream":%v}`, stream)
			write(t, c, "POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, res.StatusCode)
			text, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.Contains(t, string(text), "length")
		})
	}
}

// TestSlowReader sends a request and reads nothing of the answer.
func TestSlowReader(t *testing.T) {
	e := &fakeEngine{script: forever}
	bubble(t, e, func(c net.Conn) {
		start := time.Now()
		body := `{"text":"a","stream":true}`
		write(t, c, "POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		synctest.Wait()
		require.Len(t, e.streams, 1)
		<-e.streams[0].cancelled
		require.Equal(t, pieceTimeout, time.Since(start))
	})
}

// TestASlowReaderThatReads takes a long answer in pieces, each a moment before its time is over.
func TestASlowReaderThatReads(t *testing.T) {
	const tokens = 100_000
	bubble(t, &fakeEngine{}, func(c net.Conn) {
		start := time.Now()
		body := fmt.Sprintf(`{"text":"a","sampling_params":{"max_new_tokens":%d}}`, tokens)
		write(t, c, "POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		res, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
		require.NoError(t, err)
		var text strings.Builder
		for {
			time.Sleep(pieceTimeout - time.Second)
			_, err := io.CopyN(&text, res.Body, maxPiece)
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
		}
		require.Greater(t, time.Since(start), 3*pieceTimeout)
		require.Contains(t, text.String(), strings.Repeat("a", tokens))
	})
}
