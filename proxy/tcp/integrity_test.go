package tcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"anyport/proxy/stats"
)

var (
	connections = flag.Int("tcp.connections", 20_400, "connections of TestIntegrity, over all its parts; a tenth if -short")
	seed        = flag.Uint64("tcp.seed", 0, "seed of TestIntegrity; 0: a random one")
)

const (
	mostBytes = 8 << 20 // that one side sends on a connection
	fewBytes  = 64 << 10
)

// exchange is what happens on one connection: each side sends its number of bytes, from its place in the noise, in
// pieces and with pauses, while it reads what the other sends.
type exchange struct {
	In, Out             uint32 // bytes from and to the client
	InPlace, OutPlace   uint32 // where in the noise
	ClientPace, Upstart uint64 // seeds of the pieces and pauses
}

const exchangeBytes = 32

func newExchange(rng *rand.Rand) exchange {
	return exchange{
		In:         exchangeBytes + randomSize(rng),
		Out:        randomSize(rng),
		InPlace:    rng.Uint32N(uint32(len(noise) - mostBytes - exchangeBytes)),
		OutPlace:   rng.Uint32N(uint32(len(noise) - mostBytes)),
		ClientPace: rng.Uint64(),
		Upstart:    rng.Uint64(),
	}
}

// randomSize is 0 in one of ten cases, and otherwise of any order of magnitude: in one of ten cases up to mostBytes, in
// the others up to fewBytes.
func randomSize(rng *rand.Rand) uint32 {
	most := float64(fewBytes)
	switch rng.IntN(10) {
	case 0:
		return 0
	case 1:
		most = mostBytes
	}
	return uint32(math.Exp(rng.Float64() * math.Log(most)))
}

// TestIntegrity checks every byte of many connections, in each mode of moving data.
func TestIntegrity(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d", *seed)
	total := *connections
	if testing.Short() {
		total /= 10
	}
	modes := []struct {
		name  string
		pipes int
	}{{"pipes", maxPipes}, {"few pipes", 2}, {"no pipes", 0}}
	for _, path := range paths {
		for i, mode := range modes {
			t.Run(path.name+"/"+mode.name, func(t *testing.T) {
				need(t, path.client, path.upstream)
				up := newServer(t, path.upstream.upstream)
				r := newRig(t, path.client, setup{upstreams: addrs(up), engine: func(e *Engine) {
					for _, w := range e.workers {
						w.pipes.most = mode.pipes
					}
				}})
				rng := rand.New(rand.NewPCG(*seed, uint64(i)))
				r.exchangeAll(up, rng, total/(len(paths)*len(modes)))
			})
		}
	}
}

// exchangeAll makes n connections, 32 at a time.
func (r *rig) exchangeAll(up *server, rng *rand.Rand, n int) {
	r.t.Helper()
	var calling sync.WaitGroup
	up.serving.Go(up.serveExchanges)
	queue := make(chan exchange)
	for range 32 {
		calling.Go(func() {
			for x := range queue {
				if err := r.call(x); err != nil {
					r.t.Errorf("client: %+v: %v", x, err)
				}
			}
		})
	}
	var in, out uint64
	for range n {
		x := newExchange(rng)
		in, out = in+uint64(x.In), out+uint64(x.Out)
		queue <- x
	}
	close(queue)
	calling.Wait()
	r.awaitEnded(stats.Done, uint64(n))
	if sum := r.totals(); sum.BytesIn != in || sum.BytesOut != out {
		r.t.Errorf("counted %d bytes in and %d out, %d and %d were sent", sum.BytesIn, sum.BytesOut, in, out)
	}
	up.SetDeadline(time.Now())
	up.serving.Wait()
}

// call does the client's part of an exchange, which begins by telling the upstream about it.
func (r *rig) call(x exchange) error {
	c, err := net.Dial("tcp", r.addr.String())
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	rng := rand.New(rand.NewPCG(x.ClientPace, 0))
	order, _ := binary.Append(nil, binary.BigEndian, &x)
	if _, err := c.Write(order); err != nil {
		return err
	}
	return play(c.(*net.TCPConn), rng, noise[x.InPlace:][:x.In-exchangeBytes], noise[x.OutPlace:][:x.Out])
}

func (s *server) serveExchanges() {
	for {
		c, err := s.Accept()
		if err != nil {
			return // told to stop
		}
		s.serving.Go(func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(2 * time.Minute))
			if err := answer(c.(*net.TCPConn)); err != nil {
				s.t.Errorf("upstream: %v", err)
			}
		})
	}
}

// answer does the upstream's part.
func answer(c *net.TCPConn) error {
	order := make([]byte, exchangeBytes)
	if _, err := io.ReadFull(c, order); err != nil {
		return err
	}
	var x exchange
	if _, err := binary.Decode(order, binary.BigEndian, &x); err != nil {
		return err
	}
	err := play(c, rand.New(rand.NewPCG(x.Upstart, 1)), noise[x.OutPlace:][:x.Out],
		noise[x.InPlace:][:x.In-exchangeBytes])
	if err != nil {
		return fmt.Errorf("%+v: %w", x, err)
	}
	return nil
}

// play sends and receives at once.
func play(c *net.TCPConn, rng *rand.Rand, send, expect []byte) error {
	sent := make(chan error, 1)
	pace := rand.New(rand.NewPCG(rng.Uint64(), 2))
	go func() { sent <- sendInPieces(c, pace, send) }()
	received := receiveInPieces(c, rng, expect)
	if received != nil {
		c.Close()
	}
	return errors.Join(received, <-sent)
}

func sendInPieces(c *net.TCPConn, rng *rand.Rand, data []byte) error {
	for len(data) > 0 {
		n := min(len(data), 1+rng.IntN(1<<uint(rng.IntN(20))))
		if _, err := c.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
		pause(rng)
	}
	return c.CloseWrite()
}

func receiveInPieces(c *net.TCPConn, rng *rand.Rand, expect []byte) error {
	buf := make([]byte, 256<<10)
	for place := 0; ; {
		n, err := c.Read(buf[:1+rng.IntN(len(buf))])
		if n > len(expect)-place || !bytes.Equal(buf[:n], expect[place:place+n]) {
			return fmt.Errorf("wrong bytes after %d", place)
		}
		place += n
		switch {
		case err == io.EOF && place == len(expect):
			return nil
		case err != nil:
			return fmt.Errorf("after %d of %d bytes: %w", place, len(expect), err)
		}
		pause(rng)
	}
}

// pause sleeps 0 to 2 ms, in one of 16 cases.
func pause(rng *rand.Rand) {
	if rng.IntN(16) == 0 {
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
	}
}
