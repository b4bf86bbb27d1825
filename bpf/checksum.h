/* SPDX-License-Identifier: BSD-3-Clause */
/* UDP checksums, and how a change of addresses and ports changes them. */
#ifndef ANYPORT_CHECKSUM_H
#define ANYPORT_CHECKSUM_H

#include "frame.h"

/* What a packet's checksum is worth (linux/skbuff.h). */
enum summed {
	SUMMED_NOT,      /* CHECKSUM_NONE: nobody has looked */
	SUMMED_RIGHT,    /* CHECKSUM_UNNECESSARY */
	SUMMED_COMPLETE, /* CHECKSUM_COMPLETE: the device has summed up all that follows the Ethernet header */
	SUMMED_PARTLY,   /* CHECKSUM_PARTIAL: it holds the sum of the pseudo-header, and a device is to finish it */
};

/* The one field of the kernel's own structure that is needed; where it lies is found as the program is loaded (BTF). */
struct sk_buff {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym; /* Linux 6.2 */

static __always_inline enum summed summed(struct __sk_buff *skb)
{
	const struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
	const void *byte = (const void *)kernel + __builtin_preserve_field_info(kernel->ip_summed, BPF_CORE_FIELD_BYTE_OFFSET);
	__u64 bits = *(const __u8 *)byte;

	bits <<= __builtin_preserve_field_info(kernel->ip_summed, BPF_CORE_FIELD_LSHIFT_U64);
	return bits >> __builtin_preserve_field_info(kernel->ip_summed, BPF_CORE_FIELD_RSHIFT_U64);
}

/* fold makes a one's complement sum of 16-bit words of one of larger words (RFC 1071). */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum >> 32) + (__u32)sum;
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (sum >> 16) + sum;
}

/* The change of a sum by the ports. */
static __always_inline __u32 ports_delta(const struct tuple *from, const struct tuple *to)
{
	return to->source_port + to->destination_port + (__u16)~from->source_port + (__u16)~from->destination_port;
}

/* mend returns a packet's UDP checksum after the addresses have changed by delta, and the ports (RFC 1624); 0 is none. */
static __always_inline __u16 mend(enum summed summed, const struct packet *p, const struct tuple *to, __u32 delta)
{
	__u16 sum;

	if (!p->udp_checksum)
		return 0;
	if (summed == SUMMED_PARTLY) /* the ports are yet to come */
		sum = fold((__u64)p->udp_checksum + delta);
	else
		sum = ~fold((__u64)(__u16)~p->udp_checksum + delta + ports_delta(&p->from_to, to));
	return sum ? sum : 0xffff;
}

#endif
