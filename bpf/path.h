/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a packet goes from here. */
#ifndef ANYPORT_PATH_H
#define ANYPORT_PATH_H

#include "flows.h"
#include "frame.h"

enum { LOOPBACK = 1 }; /* the index of lo in every network namespace (LOOPBACK_IFINDEX) */

/* A way out of this host. */
struct path {
	__u32 half;    /* that it is of; 0: none */
	__u32 asked;   /* when, in units of time */
	__u32 changes; /* of meta, then */
	__u32 mtu;
	__u32 device;
	struct bpf_redir_neigh next;
};

/*
 * SMALL is the size of IP packets up to which a path is good for as long as its unit of time lasts and no change is known.
 * The path of larger ones is asked for each, so that they never meet an MTU that has just been lowered: every link that
 * IPv6 can use lets this size through (RFC 8200).
 */
enum { PATHS = 1024, SMALL = 1280 };

/* Keyed by half, less the high bits: the paths of packets just forwarded. 40 KB for each CPU, and not pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PATHS);
	__type(key, __u32);
	__type(value, struct path);
} paths SEC(".maps");

/*
 * ask asks the kernel for the way of a packet. It returns 0, or why the packet is left. The kernel asks for forwarding on
 * the device that the packet would have come from, even of lo (bpf_ipv4_fib_lookup, net/core/filter.c, Linux 6.18).
 */
static __always_inline int ask(struct __sk_buff *skb, __u8 family, const struct tuple *to, __u32 size, struct path *way)
{
	struct bpf_fib_lookup fib = {
		.family = family,
		.l4_protocol = IPPROTO_UDP,
		.sport = to->source_port,
		.dport = to->destination_port,
		.tot_len = size,
		.ifindex = LOOPBACK,
	};

	if (family == AF_INET) {
		fib.ipv4_src = to->source.word[3];
		fib.ipv4_dst = to->destination.word[3];
	} else {
		__builtin_memcpy(fib.ipv6_src, &to->source, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, &to->destination, sizeof(fib.ipv6_dst));
	}
	switch (bpf_fib_lookup(skb, &fib, sizeof(fib), BPF_FIB_LOOKUP_SKIP_NEIGH)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		break;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return OUTCOME_TOO_BIG;
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return OUTCOME_FORWARDING;
	default: /* local, unreachable, or by an encapsulation that a redirect would miss */
		return OUTCOME_NO_ROUTE;
	}
	way->mtu = fib.mtu_result;
	way->device = fib.ifindex;
	way->next.nh_family = fib.family;
	__builtin_memcpy(way->next.ipv6_nh, fib.ipv6_dst, sizeof(way->next.ipv6_nh));
	return 0;
}

/* route finds the way of a packet, of a half by its number from 1 on. It returns 0, or why the packet is left. */
static __always_inline int route(struct __sk_buff *skb, const struct packet *p, const struct tuple *to, struct path *way,
				 __u32 half, __u32 now, __u32 changes)
{
	__u32 size = segment(skb, p);
	int why;

	if (way->half == half && way->asked == now && way->changes == changes && size <= SMALL && size <= way->mtu)
		return 0;
	way->half = 0;
	why = ask(skb, p->family, to, size, way);
	if (why)
		return why;
	way->half = half;
	way->asked = now;
	way->changes = changes;
	return 0;
}

#endif
