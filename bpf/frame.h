/* SPDX-License-Identifier: BSD-3-Clause */
/* A UDP packet in an Ethernet frame, as a tc program reads and writes it. */
#ifndef ANYPORT_FRAME_H
#define ANYPORT_FRAME_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flows.h"

enum { AF_INET = 2, AF_INET6 = 10, IPPROTO_UDP = 17 }; /* linux/socket.h; RFC 5237 */

/* IEEE 802.3: the header, and the shortest frame without its checksum, which shorter packets are padded to. */
enum { ETH_HEADER = 14, ETH_SHORTEST = 60, ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd };

/* RFC 791. Header is that of a packet without options, the only ones that are parsed. */
struct ipv4 {
	__u8 version_length;
	__u8 tos;
	__be16 length;
	__be16 id;
	__be16 fragment; /* flags and offset */
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__be32 source;
	__be32 destination;
};

enum { IPV4_PLAIN = 0x45, IPV4_FRAGMENT = 0x3fff }; /* version 4, five words; more fragments, or an offset */

/* RFC 8200. A header between this one and UDP has a next that is not UDP. */
struct ipv6 {
	__be32 flow;
	__be16 length; /* of what follows */
	__u8 next;
	__u8 hop_limit;
	struct ip_address source;
	struct ip_address destination;
};

/* RFC 768. */
struct udp {
	__be16 source;
	__be16 destination;
	__be16 length;
	__u16 checksum;
};

/* A packet as far as the program needs it. */
struct packet {
	struct tuple from_to;
	__u32 length;   /* of the IP packet; of a GSO train, of all its payloads behind one header */
	__u32 payload;  /* bytes behind the UDP header */
	__u8 family;
	__u8 ttl;
	__u16 checksum; /* of the IPv4 header */
	__u16 udp_checksum;
};

static __always_inline struct ip_address mapped(__be32 ipv4)
{
	return (struct ip_address){{0, 0, bpf_htonl(0xffff), ipv4}};
}

static __always_inline __u32 ip_header_size(const struct packet *p)
{
	return p->family == AF_INET ? sizeof(struct ipv4) : sizeof(struct ipv6);
}

/* segment returns the length of the largest IP packet that this one will leave as. */
static __always_inline __u32 segment(struct __sk_buff *skb, const struct packet *p)
{
	return skb->gso_size ? ip_header_size(p) + sizeof(struct udp) + skb->gso_size : p->length;
}

/* linear returns the start of n bytes of frame, which it makes linear if they are not, or NULL if there are fewer. */
static __always_inline void *linear(struct __sk_buff *skb, __u32 n)
{
	if (skb->data + n > skb->data_end && bpf_skb_pull_data(skb, n))
		return NULL;
	if ((void *)(long)skb->data + n > (void *)(long)skb->data_end)
		return NULL;
	return (void *)(long)skb->data;
}

#endif
