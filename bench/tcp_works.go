package bench

import (
	"errors"
	"net/netip"
	"time"
)

// tcpTraffic are the works of the suite.
var tcpTraffic = []proxyWork{
	{name: "connect, 64 B each way, close", per: "connection", figures: []Figure{{"connections", "1/s", true}}, measure: measureShort},
	{name: "64 B ping-pong on 64 connections", per: "request", figures: requestRate, measure: measureRequests(64, echoPort, requestSize)},
	{name: "64 B ping-pong on 1,000 connections", per: "request", figures: requestRate, measure: measureRequests(1000, echoPort, requestSize)},
	{name: "16 KiB responses on 64 connections", per: "request", figures: requestRate, measure: measureRequests(64, pagePort, pageSize)},
	{name: "bulk to the client, 1 connection", per: "KiB", figures: throughput, measure: measureBulk(1, sourcePort), slow: true},
	{name: "bulk to the upstream, 1 connection", per: "KiB", figures: throughput, measure: measureBulk(1, sinkPort), slow: true},
	{name: "bulk to the client, 8 connections", per: "KiB", figures: throughput, measure: measureBulk(8, sourcePort)},
	{name: "bulk to the upstream, 8 connections", per: "KiB", figures: throughput, measure: measureBulk(8, sinkPort)},
	{name: "64 B requests, 3,000 a second", per: "request", figures: []Figure{
		{"99th percentile of the latency, in a usual 0.1 s", "us", false},
		{"99th percentile of the latency, of all", "us", false},
		{"median latency", "us", false},
	}, measure: measureRate, slow: true},
}

var (
	requestRate = []Figure{{"requests", "1/s", true}}
	throughput  = []Figure{{"throughput", "Mbit/s", true}}
)

// split divides n connections among the threads of the client.
func split(n int) []int {
	parts := make([]int, min(n, proxyThreads))
	for i := range n {
		parts[i%len(parts)]++
	}
	return parts
}

// shortWidth is how many short connections are under way at a time.
const shortWidth = 64

func measureShort(b *proxyBed, f *proxyFamily, d time.Duration) (Sample, error) {
	var loads []proxyLoad
	for _, width := range split(shortWidth) {
		loads = append(loads, &tcpShort{to: netip.AddrPortFrom(f.dialled, oncePort), width: width})
	}
	return b.perSecond(d, loads)
}

func measureRequests(connections int, port uint16, answer int) func(*proxyBed, *proxyFamily, time.Duration) (Sample, error) {
	return func(b *proxyBed, f *proxyFamily, d time.Duration) (Sample, error) {
		var loads []proxyLoad
		for _, n := range split(connections) {
			loads = append(loads, &tcpRequests{to: netip.AddrPortFrom(f.dialled, port), connections: n, answer: answer})
		}
		return b.perSecond(d, loads)
	}
}

// perSecond is a sample of one figure: units a second.
func (b *proxyBed) perSecond(d time.Duration, loads []proxyLoad) (Sample, error) {
	took, total, cost, err := b.measureLoads(d, loads...)
	return Sample{Values: []float64{float64(total.done) / took.Seconds()}, Cost: cost, Lost: total.lost, Errors: total.errors}, err
}

func measureBulk(connections int, port uint16) func(*proxyBed, *proxyFamily, time.Duration) (Sample, error) {
	return func(b *proxyBed, f *proxyFamily, d time.Duration) (Sample, error) {
		var loads []proxyLoad
		for _, n := range split(connections) {
			loads = append(loads, &tcpBulk{to: netip.AddrPortFrom(f.dialled, port), connections: n})
		}
		sample, err := b.perSecond(d, loads)
		if err == nil {
			sample.Values[0] *= 8 << 10 / 1e6 // KiB to megabits
		}
		return sample, err
	}
}

// rateConnections is how many connections requests at a fixed rate take turns on, requestsPerSecond the rate. A 99th
// percentile needs rateTimes the time of other works. rateStretch is the requests of 0.1 s: three are above it.
const (
	rateConnections   = 64
	requestsPerSecond = 3000
	rateTimes         = 12
	rateStretch       = requestsPerSecond / 10
)

func measureRate(b *proxyBed, f *proxyFamily, d time.Duration) (Sample, error) {
	l := newTCPRate(netip.AddrPortFrom(f.dialled, echoPort), rateConnections, requestsPerSecond)
	_, total, cost, err := b.measureLoads(rateTimes*d, l)
	if err != nil {
		return Sample{}, err
	}
	if len(l.took) == 0 {
		return Sample{}, errors.New("no request was answered in time")
	}
	micros := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return Sample{
		Values: []float64{micros(l.usualPercentile(0.99, rateStretch)), micros(l.percentile(0.99)), micros(l.percentile(0.5))},
		Cost:   cost, Lost: total.lost, Errors: total.errors,
	}, nil
}
