package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"anyport/conf"
)

// maxAnswerBytes is how much of an answer a check looks at.
const maxAnswerBytes = 4096

var errNotExpected = errors.New("the answer is not the expected one")

// probe makes a check over the network.
func probe(ctx context.Context, key checkKey) error {
	c, err := dialCheck(ctx, key)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) }) // fails only on a socket that is closed
	defer stop()
	if key.Send != "" {
		if _, err := io.WriteString(c, key.Send); err != nil {
			return err
		}
	}
	if key.Type == conf.TCPCheck && key.Expect == "" {
		return nil
	}
	return awaitAnswer(c, key.Expect)
}

func dialCheck(ctx context.Context, key checkKey) (net.Conn, error) {
	var d net.Dialer
	if key.Type == conf.UDPCheck {
		if key.source.IsValid() {
			d.LocalAddr = &net.UDPAddr{IP: key.source.AsSlice()}
		}
		return d.DialContext(ctx, "udp", key.target.String())
	}
	if key.source.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: key.source.AsSlice()}
	}
	return d.DialContext(ctx, "tcp", key.target.String())
}

// awaitAnswer reads until what came contains what is expected.
func awaitAnswer(c net.Conn, expect string) error {
	var answer strings.Builder
	buf := make([]byte, maxAnswerBytes)
	for answer.Len() < maxAnswerBytes {
		n, err := c.Read(buf[:maxAnswerBytes-answer.Len()])
		answer.Write(buf[:n])
		switch {
		case err == nil && strings.Contains(answer.String(), expect):
			return nil
		case errors.Is(err, io.EOF) || err != nil && n == 0 && answer.Len() > 0:
			return errNotExpected
		case err != nil:
			return err
		}
	}
	return errNotExpected
}
