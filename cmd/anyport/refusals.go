package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"anyport/steering"
)

// refusalsCommand prints refused packets as the kernel samples them, until it has printed enough or is interrupted.
func refusalsCommand(args []string) error {
	f := newFlags("refusals", "[-n COUNT]")
	count := f.IntP("count", "n", 0, "stop after so many; 0 goes on until interrupted")
	bpffs := f.String("bpffs", steering.DefaultBpffs, "where the BPF file system is")
	if _, err := parse(f, args, 0); err != nil {
		return err
	}
	if *count < 0 {
		return usageError("refusals: the count is negative")
	}
	s, err := steering.Open(steering.Options{Bpffs: *bpffs})
	if err != nil {
		return err
	}
	defer s.Close()
	samples, err := s.Samples()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(signals)
	done := make(chan struct{})
	stopped := make(chan struct{})
	go closeOnSignal(samples, signals, done, stopped)
	err = printRefusals(os.Stdout, samples, *count)
	close(done)
	<-stopped
	return err
}

// closeOnSignal closes the samples, which ends a read that waits, at the first signal or when done is closed.
func closeOnSignal(samples io.Closer, signals <-chan os.Signal, done <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	select {
	case <-signals:
	case <-done:
	}
	samples.Close()
}

// printRefusals prints samples until they end, or count of them if that is not 0.
func printRefusals(out io.Writer, samples *steering.SampleReader, count int) error {
	for n := 0; count == 0 || n < count; n++ {
		r, err := samples.Read()
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s %s %s -> %s refused by %s: %s\n", r.Time.Format(time.RFC3339Nano), r.Protocol,
			r.Src, r.Dst, r.Rule.Name, refusalCause(&r))
		if err != nil {
			return err
		}
	}
	return nil
}

// refusalCause says why a packet was refused.
func refusalCause(s *steering.Sample) string {
	switch {
	case s.Cause != steering.Refused:
		return s.Cause.String() // no socket could take it
	case s.Rule.ID == steering.IDSealed:
		return "no rule claims it"
	}
	return "the rule says so"
}
