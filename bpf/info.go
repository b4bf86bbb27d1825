//go:build ignore

// Info prints what the verifier of the running kernel says of the programs: `go run bpf/info.go`, as root.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"regexp"
	"text/tabwriter"

	"github.com/cilium/ebpf"

	"anyport/bpf"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("info: ")
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "PROGRAM\tTYPE\tINSTRUCTIONS\tVERIFIED\tSTACK\tJITED\tTAG")
	for _, load := range []func() (*ebpf.CollectionSpec, error){bpf.LoadSteer, bpf.LoadOffload, bpf.LoadTransmit} {
		if err := describeObject(out, load); err != nil {
			log.Fatal(err)
		}
	}
	out.Flush()
}

func describeObject(out *tabwriter.Writer, load func() (*ebpf.CollectionSpec, error)) error {
	spec, err := load()
	if err != nil {
		return err
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats},
	})
	if err != nil {
		return err
	}
	defer coll.Close()
	for name, p := range coll.Programs {
		if err := describe(out, name, p); err != nil {
			return err
		}
	}
	return nil
}

// stackDepth is what the verifier says at the end of its log, in bytes for each function.
var stackDepth = regexp.MustCompile(`stack depth (\S+)`)

func describe(out *tabwriter.Writer, name string, p *ebpf.Program) error {
	info, err := p.Info()
	if err != nil {
		return err
	}
	verified, ok := info.VerifiedInstructions()
	if !ok {
		return errors.New("the kernel does not tell how many instructions it verified (Linux 5.16)")
	}
	instructions, err := info.TranslatedSize()
	if err != nil {
		return err
	}
	jited, err := info.JitedSize()
	if err != nil {
		return err
	}
	stack := "?"
	if m := stackDepth.FindStringSubmatch(p.VerifierLog); m != nil {
		stack = m[1]
	}
	fmt.Fprintf(out, "%s\t%s\t%d\t%d\t%s bytes\t%d bytes\t%s\n",
		name, p.Type(), instructions/8, verified, stack, jited, info.Tag)
	return nil
}
