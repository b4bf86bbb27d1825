/* SPDX-License-Identifier: BSD-3-Clause */
/* The context of an sk_lookup program, and how its fields are read. */
#ifndef ANYPORT_PACKET_H
#define ANYPORT_PACKET_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* linux/socket.h and RFC 5237; the kernel runs sk_lookup for no other families and protocols. */
enum { AF_INET = 2, AF_INET6 = 10 };
enum { IPPROTO_TCP = 6, IPPROTO_UDP = 17 };

/*
 * CTX reads a 4-byte field. The load is written out because clang 14 otherwise merges the reads of the IPv4 and the
 * IPv6 address into one through a computed pointer, which the verifier refuses ("dereference of modified ctx ptr");
 * volatile does not keep it from that.
 */
#define CTX(ctx, field)                                                                                               \
	({                                                                                                            \
		__u64 value;                                                                                          \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                                                 \
			     : "=r"(value)                                                                            \
			     : "r"(ctx), "i"(offsetof(struct bpf_sk_lookup, field)));                                 \
		(__u32)value;                                                                                         \
	})

/* An address in network byte order; an IPv4 address is ip[0] and the rest is zero. */
struct address {
	__u32 ip[4];
};

static __always_inline bool is_ipv4(struct bpf_sk_lookup *ctx)
{
	return CTX(ctx, family) == AF_INET;
}

static __always_inline bool is_udp(struct bpf_sk_lookup *ctx)
{
	return CTX(ctx, protocol) == IPPROTO_UDP;
}

static __always_inline struct address source(struct bpf_sk_lookup *ctx)
{
	struct address a = {};

	if (is_ipv4(ctx)) {
		a.ip[0] = CTX(ctx, remote_ip4);
	} else {
		a.ip[0] = CTX(ctx, remote_ip6[0]);
		a.ip[1] = CTX(ctx, remote_ip6[1]);
		a.ip[2] = CTX(ctx, remote_ip6[2]);
		a.ip[3] = CTX(ctx, remote_ip6[3]);
	}
	return a;
}

static __always_inline struct address destination(struct bpf_sk_lookup *ctx)
{
	struct address a = {};

	if (is_ipv4(ctx)) {
		a.ip[0] = CTX(ctx, local_ip4);
	} else {
		a.ip[0] = CTX(ctx, local_ip6[0]);
		a.ip[1] = CTX(ctx, local_ip6[1]);
		a.ip[2] = CTX(ctx, local_ip6[2]);
		a.ip[3] = CTX(ctx, local_ip6[3]);
	}
	return a;
}

/* Before Linux 5.18 the port was a 4-byte field, whose 2-byte reads were wrong on big-endian hosts. */
static __always_inline __u16 source_port(struct bpf_sk_lookup *ctx)
{
	return bpf_ntohs((__u16)CTX(ctx, remote_port));
}

static __always_inline __u16 destination_port(struct bpf_sk_lookup *ctx)
{
	return CTX(ctx, local_port); /* host byte order */
}

#endif
