// Package bench measures what steering costs, side by side with the ways it replaces, so that a sceptic believes it.
//
// A [Suite] is a list of [Work]: one kind of traffic and the subjects that do it. [Run] measures in rounds. Each round
// measures every subject of every work once, in a fresh random order, because a fixed order favours whoever comes
// after an idle moment. The first subject of a work is its reference, and one more subject is the same thing built a
// second time: the A/A control. What the control shows against the reference is the error of the method, and a
// difference within it is reported as no difference.
//
// A [Sample] carries, beside the figures of its work, what they have cost the machine and the proxy or server, how busy
// the load generator was, and what was lost or wrong. Every sample is in the JSON ([Result], described in
// bench/results/README.md).
//
// The suites that compare proxies put each subject on a line client - proxy - upstream of its own (proxyBed). All three
// share two CPUs, so that what one of them saves is the others' to use, and a plain router shows what is left without a
// proxy. Client and upstream are made here: loops of epoll for TCP, frames of a packet socket for UDP.
//
// All traffic stays in network namespaces that the suite makes ([anyport/bench/netlab]) and takes away again, also
// after a failure or an interrupt.
package bench
