/* SPDX-License-Identifier: BSD-3-Clause */
/* The maps that outlive generations. They are made when steering is loaded and pinned beside the link. */
#ifndef ANYPORT_SHARED_H
#define ANYPORT_SHARED_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum {
	MAX_SERVICES = 512,
	NO_SERVICE = 0xffff,
};

/* What happens to a packet. The numbers are those of rule.Verdict in Go: a table that was never filled refuses. */
enum verdict {
	VERDICT_REFUSE,
	VERDICT_PASS,
	VERDICT_STEER,
};

/*
 * Keyed by slot: service * 2 for TCP, service * 2 + 1 for UDP. The kernel empties a slot when its socket is closed.
 * User space reads the socket's cookie. Whoever may write it receives the traffic: mind the mode of its pin.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2 * MAX_SERVICES);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

/*
 * What became of a packet, OUTCOME_STEERED to OUTCOME_TAKEN: exactly one for each. The others say why a service did not
 * get a packet that was meant for it, one for each socket tried or for the limit, so that they come on top of
 * OUTCOME_FALLBACK or OUTCOME_REFUSED.
 */
enum outcome {
	OUTCOME_STEERED,     /* its service's socket has it */
	OUTCOME_FALLBACK,    /* the fallback service's socket has it */
	OUTCOME_REFUSED,     /* RST or ICMP port unreachable */
	OUTCOME_PASSED,      /* left to the normal lookup */
	OUTCOME_TAKEN,       /* a program that ran before has chosen a socket (bpf_sk_assign would say EEXIST) */
	OUTCOME_EMPTY,       /* no socket in the slot */
	OUTCOME_FAMILY,      /* EAFNOSUPPORT: the socket is not for this IP version */
	OUTCOME_PROTOCOL,    /* EPROTOTYPE: a TCP socket for UDP or the other way round */
	OUTCOME_STATE,       /* ESOCKTNOSUPPORT: the socket has been connected */
	OUTCOME_OTHER,       /* any other error of bpf_sk_assign */
	OUTCOME_LIMITED,     /* no socket was tried: the source has used up the rule's rate of new connections */
	OUTCOMES,
};

struct counter {
	__u64 n[OUTCOMES]; /* by enum outcome */
};

/* Packets that no rule decided about are counted under the first ids; rules have the ones after. */
enum counter_id {
	COUNTER_SEALED,
	COUNTER_OPEN,
	COUNTER_OUTSIDE,
	COUNTER_RULES, /* the first one of a rule */
};

/* Keyed by counter id, as long as the option MaxRules says. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER_RULES);
	__type(key, enum counter_id);
	__type(value, struct counter);
} counters SEC(".maps");

/* A refused packet. In a twin that answers questions: any packet. */
struct sample {
	__u64 time; /* bpf_ktime_get_ns: CLOCK_MONOTONIC */
	__u8 src[16]; /* an IPv4 address is the first four bytes */
	__u8 dst[16];
	__u16 src_port; /* host byte order, like all that follows */
	__u16 dst_port;
	enum counter_id counter;
	enum outcome outcome; /* what became of it: OUTCOME_STEERED to OUTCOME_TAKEN */
	enum outcome cause;   /* why the rule's own service did not get it; equal to outcome if that was not tried */
	__u16 service;        /* the one that has the packet, or NO_SERVICE */
	__u8 family;          /* AF_INET or AF_INET6 */
	__u8 protocol;
	__u32 pad;
};

enum { SAMPLES_SIZE = 1 << 16 }; /* bytes: a power of two and a multiple of every page size; some 1,000 samples */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SAMPLES_SIZE);
	__type(value, struct sample);
} samples SEC(".maps");

enum sampling_key {
	SAMPLING_INTERVAL, /* ns between two samples; 0: none. Written by user space */
	SAMPLING_NEXT,     /* when the next one is due, as in sample.time */
	SAMPLING_LOST,     /* samples that found the ring buffer full */
	SAMPLING_KEYS,
};

/* Keyed by enum sampling_key. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SAMPLING_KEYS);
	__type(key, enum sampling_key);
	__type(value, __u64);
} sampling SEC(".maps");

/* A network of sources, as a rule's rate counts them. */
struct bucket_key {
	__u32 counter; /* the rule's, which it keeps across generations */
	__u32 family;  /* AF_INET or AF_INET6 */
	__u32 ip[4];   /* network byte order; an IPv4 address is ip[0] and the rest is zero */
};

enum { MAX_BUCKETS = 1 << 16 };

/*
 * Keyed by rule and network: when the network's connections so far will be paid for (bpf_ktime_get_ns). With
 * MAX_BUCKETS networks at once the one unheard of longest is forgotten, and with it what it has used up. 6 MB.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_BUCKETS);
	__type(key, struct bucket_key);
	__type(value, __u64);
} buckets SEC(".maps");

struct handshake_key {
	__u8 src[16]; /* an IPv4 address is the first four bytes */
	__u8 dst[16];
	__u16 src_port;
	__u16 dst_port;
	__u32 family;
};

enum { MAX_HANDSHAKES = 1 << 14 };

/*
 * Keyed by connection whose SYN a rate has admitted: until when its next lookup is free (bpf_ktime_get_ns). When one
 * is forgotten because there are more, it pays again if its handshake ends by SYN cookie. 2 MB.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_HANDSHAKES);
	__type(key, struct handshake_key);
	__type(value, __u64);
} handshakes SEC(".maps");

/* SCHEMA changes whenever a program or a process of another version could misread a pinned map. */
enum schema {
	SCHEMA = 2,
};

struct meta {
	enum schema schema; /* of the version that made the maps */
	__u32 pad;
};

/* One element. The program does not read it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct meta);
} meta SEC(".maps");

#endif
