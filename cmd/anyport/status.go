package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"anyport/conf"
	"anyport/proxy"
	"anyport/steering"
)

// report is what status shows: the kernel's side, which outlives the daemon, and the daemon's.
type report struct {
	Kernel *kernelStatus `json:"kernel"` // null: nothing is loaded in this network namespace
	Daemon *daemonStatus `json:"daemon"` // null: no daemon is running
}

type kernelStatus struct {
	Netns      uint64                    `json:"netns"` // inode
	Generation steering.Generation       `json:"generation"`
	Sockets    []socketStatus            `json:"sockets"`
	Rules      []ruleStatus              `json:"rules"`
	Foreign    []steering.ForeignProgram `json:"foreign_programs"`
}

type socketStatus struct {
	Service  string `json:"service"`
	Protocol string `json:"protocol"`
	Cookie   uint64 `json:"cookie"`
	number   uint16 // of the service
}

type ruleStatus struct {
	Name     string            `json:"name"`
	Verdict  string            `json:"verdict"`
	Counters map[string]uint64 `json:"counters"` // by outcome, without zeros
}

func statusCommand(args []string) error {
	f := newFlags("status", "[--json]")
	asJSON := f.Bool("json", false, "print JSON")
	bpffs := f.String("bpffs", steering.DefaultBpffs, "where the BPF file system is")
	if _, err := parse(f, args, 0); err != nil {
		return err
	}
	r, err := newReport(*bpffs)
	if err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print(os.Stdout)
}

func newReport(bpffs string) (*report, error) {
	var r report
	var d daemonStatus
	switch err := askDaemon("status", &d); {
	case err == nil:
		r.Daemon = &d
	case !errors.Is(err, errNoDaemon):
		return nil, err
	}
	s, err := steering.Open(steering.Options{Bpffs: bpffs})
	if errors.Is(err, steering.ErrNotLoaded) {
		if r.Daemon == nil {
			return nil, errNoDaemon
		}
		return &r, nil
	}
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if r.Kernel, err = readKernel(s); err == nil && r.Daemon != nil {
		r.Kernel.nameListeners(r.Daemon.Listeners)
	}
	return &r, err
}

func readKernel(s *steering.Steering) (*kernelStatus, error) {
	k := &kernelStatus{Netns: s.Namespace(), Sockets: []socketStatus{}}
	var err error
	if k.Generation, err = s.Generation(); err != nil {
		return nil, err
	}
	if k.Foreign, err = s.ForeignPrograms(); err != nil {
		return nil, err
	}
	slots, err := s.Slots()
	if err != nil {
		return nil, err
	}
	for _, slot := range slots {
		k.Sockets = append(k.Sockets, socketStatus{serviceName(slot.Service), slot.Protocol.String(), slot.Cookie, slot.Service})
	}
	counters, err := s.Counters()
	if err != nil {
		return nil, err
	}
	for _, c := range counters {
		k.Rules = append(k.Rules, ruleStatus{c.Name, c.Verdict.String(), nonzero(&c.Counters)})
	}
	return k, nil
}

func nonzero(c *steering.Counters) map[string]uint64 {
	m := make(map[string]uint64)
	for o, n := range c {
		if n > 0 {
			m[steering.Outcome(o).String()] = n
		}
	}
	return m
}

func serviceName(service uint16) string {
	if worker, ok := conf.RepliesWorker(service); ok && worker > 0 {
		return fmt.Sprintf("udp-replies of worker %d", worker)
	}
	switch service {
	case conf.ServiceProxy:
		return "proxy"
	case conf.ServiceReplies:
		return "udp-replies"
	case conf.ServiceDNS:
		return "dns"
	}
	return fmt.Sprint(service)
}

// nameListeners names the services that a daemon has listeners for.
func (k *kernelStatus) nameListeners(list []proxy.ListenerInfo) {
	for i := range k.Sockets {
		for _, l := range list {
			if k.Sockets[i].number == l.Service {
				k.Sockets[i].Service = fmt.Sprintf("proxy, mss %d", l.MSS)
			}
		}
	}
}

func (r *report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if r.Daemon == nil {
		fmt.Fprintln(w, "daemon: not running")
	} else {
		r.Daemon.print(w)
	}
	fmt.Fprintln(w)
	if r.Kernel == nil {
		fmt.Fprintln(w, "kernel: no program is loaded in this network namespace")
	} else {
		r.Kernel.print(w)
	}
	return w.Flush()
}

func (d *daemonStatus) print(w io.Writer) {
	state := "running"
	switch {
	case d.Draining:
		state = "draining"
	case d.Loaded.IsZero():
		state = "starting"
	}
	fmt.Fprintf(w, "daemon: %s, version %s, pid %d, since %s\n", state, d.Version, d.PID, d.Started.Format(time.DateTime))
	if d.Loaded.IsZero() {
		return
	}
	fmt.Fprintf(w, "configuration: %s, loaded %s\n", d.Config, d.Loaded.Format(time.DateTime))
	fmt.Fprintln(w, "\nPREFIX\tMODE\tLOCAL ROUTE")
	for _, p := range d.Prefixes {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Prefix, choose(p.Open, "open", "sealed"), choose(p.LocalRoute, "present", "MISSING"))
	}
	fmt.Fprintln(w, "\nROUTE\tACTION\tTCP OPEN\tTCP TOTAL\tUDP FLOWS\tUDP TOTAL\tBYTES IN\tBYTES OUT")
	for _, r := range d.Routes {
		r.print(w)
	}
	routeStatus{Name: "(none)", Action: "refuse", protocolTotals: d.Unrouted}.print(w)
	d.printUpstreams(w)
	d.printNames(w)
	fmt.Fprintln(w, "\nUDP SOURCE\tPORTS")
	for _, a := range slices.SortedFunc(maps.Keys(d.UDPSources), netip.Addr.Compare) {
		fmt.Fprintf(w, "%s\t%s\n", a, strings.Join(d.UDPSources[a], ","))
	}
	fmt.Fprintf(w, "\ntrains of datagrams leave by %s: %s\n", d.UDPTransmit.Way, d.UDPTransmit.Reason)
	fmt.Fprintf(w, "\ndatagrams not forwarded: %s\n", counts(d.Drops))
	if d.Offload != nil {
		fmt.Fprintln(w, offloadLine(d.Offload))
	}
}

func (r routeStatus) print(w io.Writer) {
	fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", r.Name, r.Action, r.TCP.Active, r.TCP.Opened, r.UDP.Active,
		r.UDP.Opened, r.TCP.BytesIn+r.UDP.BytesIn, r.TCP.BytesOut+r.UDP.BytesOut)
}

func (k *kernelStatus) print(w io.Writer) {
	fmt.Fprintf(w, "kernel: network namespace %d, generation %d of %s, %d rules\n", k.Netns, k.Generation.Number,
		k.Generation.Published.Format(time.DateTime), k.Generation.Rules)
	fmt.Fprintln(w, "\nSERVICE\tPROTOCOL\tSOCKET COOKIE")
	for _, s := range k.Sockets {
		fmt.Fprintf(w, "%s\t%s\t%d\n", s.Service, s.Protocol, s.Cookie)
	}
	if len(k.Sockets) == 0 {
		fmt.Fprintln(w, "none: every packet that a rule steers is refused")
	}
	fmt.Fprintln(w, "\nRULE\tVERDICT\tPACKETS JUDGED")
	for _, r := range k.Rules {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, r.Verdict, counts(r.Counters))
	}
	for _, f := range k.Foreign {
		fmt.Fprintf(w, "\nforeign sk_lookup program: %s, id %d, runs %s ours\n", f.Name, f.ProgramID,
			choose(f.Before, "before", "after"))
	}
}

// counts prints what is not zero, by name.
func counts(m map[string]uint64) string {
	var words []string
	for name, n := range m {
		if n > 0 {
			words = append(words, fmt.Sprintf("%s %d", name, n))
		}
	}
	if len(words) == 0 {
		return "0"
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}
