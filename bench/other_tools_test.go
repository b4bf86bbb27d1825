package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"anyport/bench/netlab"
)

// BenchmarkOtherTools prints what iperf3, wrk and dnsperf measure, beside what the suites' own generators do, over lines
// of the same kind. Rates differ, as nginx, which answers wrk, costs more than an upstream that only writes. What has to
// agree is how much CPU time proxies and servers take for a unit of work, in relation to each other. It is for a machine
// that does nothing else, and takes some three minutes; it fails only if something does not come through.
func BenchmarkOtherTools(b *testing.B) {
	netlab.RequireProgram(b, "iperf3", "wrk", "dnsperf", "haproxy", "nginx", "nsd", "knotd", "taskset")
	s, programs := newProxySession(b)
	works := slices.Concat(toolsOverTCP(b, s, programs), toolsOverDNS(b, s, programs))
	results, err := Run(b.Context(), works, Plan{Rounds: leastRounds, Limit: time.Hour, Seed: 1}, nil)
	if err != nil {
		b.Fatal(err)
	}
	r := &Result{Suite: "other tools", Environment: Describe("", "iperf3", "wrk", "dnsperf"), Works: results}
	if err := r.WriteTable(os.Stdout); err != nil { // a benchmark's log is cut off
		b.Error(err)
	}
}

// toolsTime is how long a measurement of this package takes. Those of tools take a second, the least that they can.
const toolsTime = 500 * time.Millisecond

// toolsOverTCP returns bulk and pages, by this package and by iperf3 and wrk.
func toolsOverTCP(t testing.TB, s *session, programs proxyPrograms) (works []Work) {
	t.Helper()
	subjects := slices.DeleteFunc(tcpSubjects(programs), func(p proxySubject) bool {
		return !slices.Contains([]string{anyportName, anyportName + againSuffix, haproxyName, nginxName}, p.name)
	})
	line := proxyLine{self: programs.self, upstream: tcpUpstream, ready: (*proxyBed).readyTCP}
	usual, err := s.proxyBeds(t.Context(), subjects, line)
	if err != nil {
		t.Fatal(err)
	}
	others, err := s.proxyBeds(t.Context(), subjects, line)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range others {
		serveTools(t, b)
	}
	bulk := proxyWork{name: "bulk to the upstream, 1 connection", per: "KiB", figures: throughput, measure: measureBulk(1, sinkPort)}
	pages := proxyWork{name: "16 KiB responses on 64 connections", per: "request", figures: requestRate,
		measure: measureRequests(64, pagePort, pageSize)}
	for _, own := range []proxyWork{bulk, pages} {
		theirs := own
		theirs.name, theirs.measure = "iperf3, "+own.name, measureIperf
		if own.per == "request" {
			theirs.name, theirs.measure = "wrk and nginx, "+own.name, measureWrk
		}
		works = append(works, own.on(usual, haproxyName, proxyFamilies[0], toolsTime),
			theirs.on(others, haproxyName, proxyFamilies[0], toolsTime))
	}
	return works
}

const pageServer = `load_module %[1]s;
daemon off;
user root;
pid %[2]s/http.pid;
error_log stderr;
worker_processes 2;
events {}
http {
	access_log off;
	keepalive_requests 1000000;
	client_body_temp_path %[2]s;
	proxy_temp_path %[2]s;
	fastcgi_temp_path %[2]s;
	uwsgi_temp_path %[2]s;
	scgi_temp_path %[2]s;
	server { listen [::]:%[3]d reuseport ipv6only=off; root %[2]s; }
}
`

// serveTools puts the servers of iperf3 and wrk in the place of the upstream.
func serveTools(t testing.TB, b *proxyBed) {
	t.Helper()
	b.server.Kill()
	config := filepath.Join(b.dir, "http.conf")
	text := fmt.Sprintf(pageServer, nginxStreamModule(), b.dir, pagePort)
	err := errors.Join(os.WriteFile(config, []byte(text), 0o644),
		os.WriteFile(filepath.Join(b.dir, "page"), make([]byte, pageSize), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"iperf3", "-s", "-p", fmt.Sprint(sinkPort)}, {"nginx", "-p", b.dir, "-c", config, "-e", "stderr"},
	} {
		program, err := netlab.FindProgram(command[0])
		if err != nil {
			t.Fatal(err)
		}
		line := slices.Concat(measured, program, command[1:])
		if b.server, err = b.Upstream.Start(line[0], line[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	netlab.Eventually(t, "the page comes", func() bool {
		_, err := runTool(b.Client, "wrk", "-t1", "-c1", "-d1", pageURL)
		return err == nil
	})
}

var pageURL = fmt.Sprintf("http://%s/page", addrPort(proxyFamilies[0].dialled, pagePort))

// runTool runs a program on the measured CPUs and returns what it prints.
func runTool(ns *netlab.Namespace, name string, args ...string) ([]byte, error) {
	line := slices.Concat(measured, []string{name}, args)
	out, err := ns.Command(line[0], line[1:]...).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return out, nil
}

func measureIperf(b *proxyBed, f *proxyFamily, _ time.Duration) (Sample, error) {
	return b.measureTool(func() (units, perUnit float64, err error) {
		out, err := runTool(b.Client, "iperf3", "-J", "-t", "1", "-p", fmt.Sprint(sinkPort), "-c", f.dialled.String())
		if err != nil {
			return 0, 0, err
		}
		var report struct {
			End struct {
				Received struct {
					Bytes float64 `json:"bytes"`
					Rate  float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			} `json:"end"`
		}
		err = json.Unmarshal(out, &report)
		return report.End.Received.Bytes / 1024, report.End.Received.Rate / 1e6, err
	})
}

// wrkSays are the lines of its report about what came, and about what did not.
var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkRate     = regexp.MustCompile(`Requests/sec: +([0-9.]+)`)
	wrkErrors   = regexp.MustCompile(`(?m)^ *(Socket errors|Non-2xx).*$`)
)

func measureWrk(b *proxyBed, _ *proxyFamily, _ time.Duration) (Sample, error) {
	return b.measureTool(func() (units, rate float64, err error) {
		out, err := runTool(b.Client, "wrk", "-t2", "-c64", "-d1", pageURL)
		if err == nil && wrkErrors.Match(out) {
			err = fmt.Errorf("wrk: %s", wrkErrors.Find(out))
		}
		if err != nil {
			return 0, 0, err
		}
		return number(wrkRequests, out), number(wrkRate, out), nil
	})
}

// number is the first group of a match, or 0.
func number(r *regexp.Regexp, text []byte) float64 {
	if m := r.FindSubmatch(text); m != nil {
		n, _ := strconv.ParseFloat(string(m[1]), 64) // the pattern is of digits
		return n
	}
	return 0
}

// measureTool is a sample of what a tool tells: units of work, and their rate.
func (b *proxyBed) measureTool(run func() (units, rate float64, err error)) (Sample, error) {
	meter := &cpuMeter{processes: b.pids}
	if err := meter.start(); err != nil {
		return Sample{}, err
	}
	units, rate, err := run()
	if err != nil || units < 1 || rate <= 0 {
		return Sample{}, errors.Join(err, fmt.Errorf("%v units, %v a second", units, rate))
	}
	cost, err := meter.stop(int(units))
	return Sample{Values: []float64{rate}, Cost: cost}, err
}

// toolsOverDNS returns queries to some servers, by this package and by dnsperf.
func toolsOverDNS(t testing.TB, s *session, programs proxyPrograms) []Work {
	t.Helper()
	r := &dnsRun{session: s, dir: t.TempDir(), ksoftirqd: softirqThreads()}
	servers := slices.DeleteFunc(dnsServers(programs.anyport, programs.self), func(d dnsServer) bool {
		return !slices.Contains([]string{nsdName, nsdName + " again", anyportName, "Knot"}, d.name)
	})
	zone, err := r.writeZone(dnsOrigin, func(f *os.File) error { return writeDNSZone(f) })
	if err != nil {
		t.Fatal(err)
	}
	own := newDNSWorks(servers, 1)
	theirs := own.works[0]
	theirs.Name, theirs.Figures = "dnsperf, "+theirs.Name, []Figure{{"queries", "1/s", true}}
	for i := range servers {
		b, err := newDNSBed(s.lab, &servers[i], zone)
		s.onClose(b.close)
		if err == nil {
			err = r.ready(b, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		own.add(r, b)
		questions := filepath.Join(r.dir, servers[i].name)
		writeQuestions(t, questions, b.generators[0].queries)
		theirs.Subjects = append(theirs.Subjects, Subject{servers[i].name, func() (Sample, error) { return measureDNSPerf(b, questions) }})
	}
	return append(own.list(), theirs)
}

// writeQuestions writes queries as dnsperf reads them.
func writeQuestions(t testing.TB, path string, queries []dnsQuery) {
	t.Helper()
	var text strings.Builder
	for _, q := range queries {
		var m dns.Msg
		if err := m.Unpack(q.packet); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s %s\n", m.Question[0].Name, dns.TypeToString[m.Question[0].Qtype])
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

var (
	dnsperfDone = regexp.MustCompile(`Queries completed: +(\d+) \(100\.00%\)`)
	dnsperfRate = regexp.MustCompile(`Queries per second: +([0-9.]+)`)
)

func measureDNSPerf(b *dnsBed, questions string) (Sample, error) {
	tool := &proxyBed{pids: b.pids}
	return tool.measureTool(func() (units, rate float64, err error) {
		out, err := runTool(b.client, "dnsperf", "-d", questions, "-s", dnsOwn[0].String(), "-l", "1", "-c", "1", "-T", "1",
			"-q", fmt.Sprint(dnsWindow))
		return number(dnsperfDone, out), number(dnsperfRate, out), err
	})
}
