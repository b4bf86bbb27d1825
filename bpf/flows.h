/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flows that the kernel forwards by itself, and what became of packets. All maps are pinned beside the program's
 * links, so that flows outlive the process that has put them in. Only user space adds and removes flows.
 */
#ifndef ANYPORT_FLOWS_H
#define ANYPORT_FLOWS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* In network byte order; an IPv4 address is mapped into IPv6 (::ffff:a.b.c.d). */
struct ip_address {
	__u32 word[4];
};

/*
 * TIME_SHIFT makes units of time of nanoseconds of CLOCK_MONOTONIC: 16.8 ms, so that 32 bits last 2.3 years and, as
 * times are compared by their difference, an idle timeout may take half of that.
 */
enum { TIME_SHIFT = 24 };

/*
 * A flow. User space writes a slot whole, before the keys that lead to it, and not again for FLOW_REST after it has
 * removed the keys, so that the program reads a flow or nothing. What the program writes are the last six fields.
 */
struct flow {
	struct ip_address client;
	struct ip_address original; /* the destination that the client dialled */
	struct ip_address nat;      /* where datagrams to the upstream leave from */
	struct ip_address upstream;
	__be16 client_port;
	__be16 original_port;
	__be16 nat_port;
	__be16 upstream_port;
	__u32 delta;      /* nat + upstream - client - original, as a one's complement sum of 32-bit words (RFC 1071) */
	__u32 idle;       /* units of time; 0: never */
	__u32 started;    /* of the flow, in units of time */
	__u16 route;      /* key of routes */
	__u16 generation; /* of the routes, in the process that has put the flow in; 0: the slot is free */
	__u32 seen_in;    /* units of time: the last datagram to the upstream */
	__u32 seen_out;   /* the same to the client */
	__u64 packets_in; /* datagrams; one of a GSO train counts by itself */
	__u64 bytes_in;   /* of payload */
	__u64 packets_out;
	__u64 bytes_out;
};

/* Keyed by slot, as long as the option MaxFlows says. User space maps it into its memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

/* What a datagram of a client looks like. */
struct client_key {
	struct ip_address client;
	struct ip_address original;
	__be16 client_port;
	__be16 original_port;
};

/* Keyed by client and original destination: the slot. As long as flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct client_key);
	__type(value, __u32);
} by_client SEC(".maps");

/* Where the answer of an upstream goes. */
struct nat_key {
	struct ip_address nat;
	__be16 port;
	__u16 pad;
};

/* Keyed by NAT address and port: the slot. As long as flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct nat_key);
	__type(value, __u32);
} by_nat SEC(".maps");

enum { ROUTE_NAME_SIZE = 64, MAX_ROUTES = 16384 };

struct route {
	__u8 name[ROUTE_NAME_SIZE]; /* filled up with zeros */
};

/* Keyed by flow.route. The program does not read it: by it another process knows a flow's route again. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ROUTES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct route);
} routes SEC(".maps");

/* What became of a UDP packet of a flow, or of one that could be of a flow. Others are not counted. */
enum outcome {
	OUTCOME_IN,         /* on its way to the upstream */
	OUTCOME_OUT,        /* on its way to the client */
	OUTCOME_FRAGMENT,   /* left to the sockets: an IPv4 fragment, whose flow only its first one would tell */
	OUTCOME_OPTIONS,    /* left: IPv4 options, which a router would have to look at */
	OUTCOME_LENGTH,     /* left: the lengths of frame, IP and UDP do not agree */
	OUTCOME_OFF,        /* left: user space has switched forwarding off, and says why */
	OUTCOME_STRAY,      /* left: to a flow's NAT port, but not from its upstream */
	OUTCOME_IDLE,       /* left: the flow's idle timeout has passed */
	OUTCOME_TTL,        /* left: TTL or hop limit does not allow one more hop */
	OUTCOME_TOO_BIG,    /* left: larger than the MTU of the path, which the sockets' way cuts into fragments */
	OUTCOME_NO_ROUTE,   /* left: no route that leads out of this host */
	OUTCOME_FORWARDING, /* left: lo has forwarding off, and without it the kernel does not answer which route */
	OUTCOME_MEMORY,     /* left: no memory to change the headers */
	OUTCOME_LOST,       /* dropped: the checksum could not be changed after the addresses were */
	OUTCOMES,
};

/* Keyed by enum outcome: packets as they came, a GSO train being one. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, enum outcome);
	__type(value, __u64);
} outcomes SEC(".maps");

/* SCHEMA changes whenever a program or a process of another version could misread a pinned map. */
enum schema {
	SCHEMA = 1,
};

/* Bits: what user space has switched on for the program, and switches off when the program goes. */
enum switched {
	SWITCHED_FORWARDING4 = 1, /* net.ipv4.conf.lo.forwarding */
	SWITCHED_FORWARDING6 = 2, /* net.ipv6.conf.lo.forwarding */
};

struct meta {
	enum schema schema; /* of the version that made the maps */
	__u32 on;           /* 0: every packet is left, and the flows stay as they are */
	enum switched switched;
	__u32 pad;
};

/* One element. Of it, the program reads on. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct meta);
} meta SEC(".maps");

#endif
