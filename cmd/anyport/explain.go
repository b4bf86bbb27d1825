package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy"
	"anyport/steering"
)

func explainCommand(args []string) error {
	f := newFlags("explain", "ADDR:PORT[/tcp|/udp] [--from SRC] [-c FILE]")
	file := f.StringP("config", "c", "", "explain by this file instead of the running daemon's configuration")
	from := f.String("from", "", "source address of the packet; without it, one that no \"from\" list holds")
	bpffs := f.String("bpffs", steering.DefaultBpffs, "where the BPF file system is")
	words, err := parse(f, args, 1)
	if err != nil {
		return err
	}
	q, err := parseQuestion(words[0], *from)
	if err != nil {
		return err
	}
	e, err := newExplainer(*file, *bpffs)
	if err != nil {
		return err
	}
	defer e.close()
	disagree := false
	for _, p := range q.protocols {
		agree, err := e.explain(os.Stdout, p, q.src, q.dst)
		if err != nil {
			return err
		}
		disagree = disagree || !agree
	}
	if disagree {
		return hintError{errors.New("the kernel's tables and the configuration disagree"),
			"if the file has changed, send the daemon SIGHUP; otherwise this is a bug"}
	}
	return nil
}

// question is what explain is asked: packets to dst from src, one of each protocol.
type question struct {
	protocols []rule.Protocol
	src       netip.Addr
	dst       netip.AddrPort
}

// parseQuestion reads ADDR:PORT[/tcp|/udp] and a source, which may be "".
func parseQuestion(destination, from string) (q question, err error) {
	addr, protocol, named := strings.Cut(destination, "/")
	switch {
	case !named:
		q.protocols = []rule.Protocol{rule.TCP, rule.UDP}
	case protocol == "tcp":
		q.protocols = []rule.Protocol{rule.TCP}
	case protocol == "udp":
		q.protocols = []rule.Protocol{rule.UDP}
	default:
		return q, usageError(fmt.Sprintf("%q is no protocol; write /tcp or /udp", protocol))
	}
	q.dst, err = netip.ParseAddrPort(addr)
	if err != nil {
		return q, usageError(fmt.Sprintf("%q is no ADDR:PORT, as in 198.18.0.1:80 or [2001:db8::1]:80/udp", destination))
	}
	q.dst = netip.AddrPortFrom(q.dst.Addr().Unmap(), q.dst.Port())
	q.src = netip.IPv4Unspecified()
	if q.dst.Addr().Is6() {
		q.src = netip.IPv6Unspecified()
	}
	if from == "" {
		return q, nil
	}
	if q.src, err = netip.ParseAddr(from); err != nil {
		return q, usageError(fmt.Sprintf("%q is no source address", from))
	}
	q.src = q.src.Unmap()
	if q.src.Is4() != q.dst.Addr().Is4() {
		return q, usageError("the source and the destination are of different IP versions")
	}
	return q, nil
}

// explainer holds a configuration's rules beside the kernel's.
type explainer struct {
	config *conf.Config
	dial   map[string][]string // route -> upstreams, as the daemon has resolved them
	table  *rule.Table
	steer  *steering.Steering // nil: nothing is loaded
}

// newExplainer takes the rules from file, or from the running daemon if file is "".
func newExplainer(file, bpffs string) (*explainer, error) {
	var running daemonConfig
	err := askDaemon("config", &running)
	switch {
	case err == nil, errors.Is(err, errNoDaemon) && file != "":
	case errors.Is(err, errNoDaemon):
		return nil, hintError{err, "start it, or name a file with -c"}
	default:
		return nil, err
	}
	e := &explainer{dial: running.Dial}
	if file != "" {
		e.config, err = conf.Load(file, nil)
		e.dial = nil
	} else {
		e.config, err = conf.Parse(running.File, []byte(running.Text), nil)
	}
	if err != nil {
		return nil, err
	}
	if e.table, err = rule.Compile(proxy.WithReplies(e.config.RuleSet(), running.Replies)); err != nil {
		return nil, err
	}
	e.steer, err = steering.Open(steering.Options{Bpffs: bpffs})
	if errors.Is(err, steering.ErrNotLoaded) {
		return e, nil
	}
	return e, err
}

func (e *explainer) close() {
	if e.steer != nil {
		e.steer.Close()
	}
}

// explain prints who wins a packet and why, and reports whether the kernel agrees or has not been asked.
func (e *explainer) explain(out io.Writer, p rule.Protocol, src netip.Addr, dst netip.AddrPort) (agree bool, err error) {
	fmt.Fprintf(out, "%s/%s from %s\n", dst, p, src)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	list := e.table.Explain(p, src, dst)
	for _, c := range list {
		fmt.Fprintln(w, "  "+strings.Join(e.candidateColumns(c), "\t"))
	}
	if err := w.Flush(); err != nil {
		return false, err
	}
	fmt.Fprintf(out, "  decision: %s\n", e.decision(list[0]))
	if limit := e.rate(list[0], p, dst.Addr()); limit != "" {
		fmt.Fprintf(out, "  rate:     %s\n", limit)
	}
	if mss := e.mss(list[0], p); mss != 0 {
		fmt.Fprintf(out, "  mss:      %d\n", mss)
	}
	if e.steer == nil {
		fmt.Fprintln(out, "  kernel:   not asked: no program is loaded in this network namespace")
		return true, nil
	}
	return e.explainKernel(out, list[0], p, src, dst)
}

func (e *explainer) candidateColumns(c rule.Candidate) []string {
	prefix, ports, source := "-", "-", "-"
	if c.Prefix.IsValid() {
		prefix = c.Prefix.String()
	}
	if c.Rule >= 0 {
		ports = c.Ports.String()
		if c.Admits() {
			source = c.Source.String()
		}
	}
	inherited := ""
	if c.Inherited {
		inherited = "inherited"
	}
	return []string{e.ruleName(c.Rule), prefix, ports, source, c.Verdict.String(), c.Lost.String(), inherited}
}

func (e *explainer) ruleName(index int) string {
	switch index {
	case rule.Sealed:
		return "(sealed)"
	case rule.Open:
		return "(open)"
	case rule.Outside:
		return "(outside)"
	}
	return e.table.Set().Rules[index].Name
}

// decision says in words what the winner does.
func (e *explainer) decision(winner rule.Candidate) string {
	switch {
	case winner.Verdict == rule.Refuse:
		return "refused: RST, or ICMP port unreachable"
	case winner.Verdict == rule.Pass:
		return "passed to the host's own sockets"
	case winner.Rule >= len(e.config.Routes):
		return fmt.Sprintf("steered to service %d", e.table.Set().Rules[winner.Rule].Service)
	}
	route := e.config.Routes[winner.Rule]
	upstreams := e.dial[route.Name]
	if upstreams == nil {
		for _, u := range route.Upstreams {
			upstreams = append(upstreams, u.String())
		}
	}
	return "proxied to " + strings.Join(upstreams, ", ")
}

// mss returns what clients of the winner are told, or 0 if its route does not say.
func (e *explainer) mss(winner rule.Candidate, p rule.Protocol) int {
	if p != rule.TCP || winner.Rule < 0 || winner.Rule >= len(e.config.Routes) {
		return 0
	}
	return e.config.Routes[winner.Rule].MSS
}

// rate says in words how often a source may come, or "" if that is not limited.
func (e *explainer) rate(winner rule.Candidate, p rule.Protocol, dst netip.Addr) string {
	if winner.Rule < 0 || p != rule.TCP {
		return ""
	}
	rate := e.table.Set().Rules[winner.Rule].Rate
	if rate.Interval == 0 {
		return ""
	}
	bits := rate.Bits4
	if dst.Is6() {
		bits = rate.Bits6
	}
	return fmt.Sprintf("%d connections at once from one /%d, then one in %v", rate.Burst, bits, rate.Interval)
}

func (e *explainer) explainKernel(out io.Writer, winner rule.Candidate, p rule.Protocol, src netip.Addr,
	dst netip.AddrPort) (agree bool, err error) {
	a, err := e.steer.Ask(p, src, dst)
	if err != nil {
		return false, err
	}
	agree = a.Name == e.ruleName(winner.Rule) && a.Rule.Verdict == winner.Verdict
	word := "agrees"
	if !agree {
		word = "DISAGREES"
	}
	fmt.Fprintf(out, "  kernel:   %s: rule %s, %s, generation %d\n", word, a.Name, describeAnswer(a), a.Generation)
	return agree, nil
}

// describeAnswer adds why a packet that should have been steered was not.
func describeAnswer(a steering.Answer) string {
	if a.Cause != a.Outcome {
		return fmt.Sprintf("%s because of %s", a.Outcome, a.Cause)
	}
	return a.Outcome.String()
}
