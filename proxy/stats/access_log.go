package stats

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Record is what the access log says of one connection or flow when it has ended, and of a long one now and then before.
type Record struct {
	Start       time.Time
	Duration    time.Duration
	ConnectTime time.Duration // TCP: from accept to the upstream's SYN-ACK, all attempts included
	Protocol    string        // "tcp" or "udp"
	Route       string        // "" if none claimed it
	Client      netip.AddrPort
	Destination netip.AddrPort // the original destination
	Upstream    netip.AddrPort // the zero AddrPort if none was chosen
	PacketsIn   uint64         // UDP: datagrams from the client
	PacketsOut  uint64         // UDP: datagrams to the client
	BytesIn     uint64         // payload from the client
	BytesOut    uint64         // payload to the client
	ClientRTT   time.Duration  // TCP: smoothed, as the kernel has it in the end; 0: not known
	UpstreamRTT time.Duration
	Open        bool // it has not ended: the numbers are those so far, and there is no Reason
	Reason      Reason
	Errno       syscall.Errno // of a Reason that HasErrno
}

// accessLogQueue is how many records wait for the disk: at 100,000 connections a second, 80 ms of them in 2 MB.
const accessLogQueue = 8192

// AccessLog writes one JSON line for each Record. A nil AccessLog takes records and writes nothing.
type AccessLog struct {
	path string // "-" for standard output
	lost atomic.Uint64

	queue   chan Record
	reopen  chan chan error
	stopped sync.WaitGroup
}

// OpenAccessLog opens the file at path for appending, or standard output for "-". Close must be called.
func OpenAccessLog(path string) (*AccessLog, error) {
	out, err := openLog(path)
	if err != nil {
		return nil, err
	}
	l := &AccessLog{path: path, queue: make(chan Record, accessLogQueue), reopen: make(chan chan error)}
	l.stopped.Add(1)
	go l.write(out)
	return l, nil
}

func openLog(path string) (io.WriteCloser, error) {
	if path == "-" {
		return nopCloser{os.Stdout}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	return f, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// Log queues a record. It never blocks: with the queue full the record is lost and counted.
func (l *AccessLog) Log(r *Record) {
	if l == nil {
		return
	}
	select {
	case l.queue <- *r:
	default:
		l.lost.Add(1)
	}
}

// Lost returns how many records found the queue full or could not be written.
func (l *AccessLog) Lost() uint64 {
	if l == nil {
		return 0
	}
	return l.lost.Load()
}

// Reopen opens the path again, so that a rotated log goes on in a new file. If that fails, the old file stays in use.
func (l *AccessLog) Reopen() error {
	if l == nil {
		return nil
	}
	done := make(chan error)
	l.reopen <- done
	return <-done
}

// Close writes what is queued and closes the file. Nothing may call Log or Reopen any more.
func (l *AccessLog) Close() {
	if l == nil {
		return
	}
	close(l.queue)
	l.stopped.Wait()
}

func (l *AccessLog) write(out io.WriteCloser) {
	defer l.stopped.Done()
	var batch logBatch
	for {
		select {
		case r, ok := <-l.queue:
			if !ok {
				l.lost.Add(batch.flush(out))
				out.Close()
				return
			}
			batch.text = r.appendJSON(batch.text)
			batch.lines++
			if len(l.queue) == 0 || len(batch.text) >= batchBytes {
				l.lost.Add(batch.flush(out))
			}
		case done := <-l.reopen:
			fresh, err := openLog(l.path)
			if err == nil {
				out.Close()
				out = fresh
			}
			done <- err
		}
	}
}

// batchBytes is how much is written at once while records keep coming.
const batchBytes = 64 << 10

// logBatch is lines that wait for one write.
type logBatch struct {
	text  []byte
	lines uint64
}

// flush writes the batch and returns how many lines were lost.
func (b *logBatch) flush(out io.Writer) (lost uint64) {
	if _, err := out.Write(b.text); err != nil {
		lost = b.lines
	}
	b.text, b.lines = b.text[:0], 0
	return lost
}

// appendJSON appends the record as one line. encoding/json would allocate for every record; the only free text is the
// route's name, which conf keeps to letters, digits and "._-".
func (r *Record) appendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Start.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, '"')
	b = appendText(b, "protocol", r.Protocol)
	b = appendText(b, "route", r.Route)
	b = appendAddr(b, "client", r.Client)
	b = appendAddr(b, "destination", r.Destination)
	b = appendAddr(b, "upstream", r.Upstream)
	if r.Protocol == "udp" {
		b = appendUint(b, "datagrams_in", r.PacketsIn)
		b = appendUint(b, "datagrams_out", r.PacketsOut)
	}
	b = appendUint(b, "bytes_in", r.BytesIn)
	b = appendUint(b, "bytes_out", r.BytesOut)
	b = appendSeconds(b, "connect_seconds", r.ConnectTime)
	b = appendSeconds(b, "duration_seconds", r.Duration)
	if r.Protocol == "tcp" {
		b = appendRTT(b, "client_rtt_seconds", r.ClientRTT)
		b = appendRTT(b, "upstream_rtt_seconds", r.UpstreamRTT)
	}
	b = appendText(b, "reason", r.reason())
	if r.Errno != 0 {
		b = append(b, `,"error":`...)
		b = strconv.AppendQuote(b, r.Errno.Error())
	}
	return append(b, '}', '\n')
}

// openReason is what stands for the reason of a connection or flow that has not ended.
const openReason = "open"

func (r *Record) reason() string {
	if r.Open {
		return openReason
	}
	return r.Reason.String()
}

func appendKey(b []byte, key string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

func appendText(b []byte, key, value string) []byte {
	return strconv.AppendQuote(appendKey(b, key), value)
}

// appendAddr writes null for the zero AddrPort.
func appendAddr(b []byte, key string, a netip.AddrPort) []byte {
	b = appendKey(b, key)
	if !a.IsValid() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = a.AppendTo(b)
	return append(b, '"')
}

func appendUint(b []byte, key string, n uint64) []byte {
	return strconv.AppendUint(appendKey(b, key), n, 10)
}

// appendRTT writes null for a time that is not known.
func appendRTT(b []byte, key string, d time.Duration) []byte {
	if d == 0 {
		return append(appendKey(b, key), "null"...)
	}
	return appendSeconds(b, key, d)
}

func appendSeconds(b []byte, key string, d time.Duration) []byte {
	return strconv.AppendFloat(appendKey(b, key), d.Seconds(), 'f', 6, 64)
}
