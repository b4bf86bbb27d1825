//go:build ignore

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * anyport_transmit sends trains of UDP datagrams from any source address and port. A train is what one sendmsg(2) with
 * UDP_SEGMENT makes: datagrams of one size that stay one packet until the device cuts them.
 *
 * User space sends a train from a socket on the loopback address to that same socket, and has written beside it, into
 * shared memory, where the train is to come from, where it is to go, and by which device. The program
 * runs as the packet is about to leave lo, still within the sendmsg; it puts those addresses and ports in and hands the
 * packet to that device. Nothing of this is visible to routing rules, marks or conntrack, and a packet that the program
 * does not see cannot leave the host: it is on lo, and addressed to its sender.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* linux/if_ether.h, linux/pkt_cls.h, RFC 5237 */
enum { ETH_HEADER = 14, ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd };
enum { TC_ACT_UNSPEC = -1, TC_ACT_SHOT = 2 };
enum { IPPROTO_UDP = 17 };

/* What became of a train. Whatever is not OUTCOME_SENT, user space sends by itself. */
enum train_outcome {
	TRAIN_NONE,      /* no train waits */
	TRAIN_WAITING,   /* user space has written it; the program has not seen the packet */
	TRAIN_SENT,      /* it is on its way */
	TRAIN_TOO_BIG,   /* its datagrams exceed the device's MTU */
	TRAIN_NO_DEVICE, /* there is no such device */
	TRAIN_ERROR,     /* the packet could not be rewritten */
};

struct train {
	__u8 src[16]; /* an IPv4 address is the first four bytes */
	__u8 dst[16];
	__be16 src_port;
	__be16 dst_port;
	__u32 device; /* index of the one that it leaves by */
	enum train_outcome outcome;
	__u32 pad;
};

/* Two for each worker, for IPv4 and IPv6; mapped into user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct train);
} trains SEC(".maps");

/* The sockets that trains come from, by cookie: which train is theirs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u64);
	__type(value, __u32);
} senders SEC(".maps");

/* Headers as they are on lo, where IPv4 has no options and IPv6 no extensions: user space asks for none. */
struct ipv4 {
	__u8 version, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__sum16 check;
	__u8 src[4], dst[4];
};

struct ipv6 {
	__be32 version;
	__be16 length;
	__u8 protocol, hops;
	__u8 src[16], dst[16];
};

struct udp {
	__be16 src_port, dst_port, length;
	__sum16 check;
};

/* find_train returns the train that a packet of a sender's socket stands for. */
static __always_inline struct train *find_train(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	__u32 *place = bpf_map_lookup_elem(&senders, &cookie);

	return place ? bpf_map_lookup_elem(&trains, place) : NULL;
}

/* set_addresses puts new addresses, size bytes from and at the offset of the source, into the packet. */
static __always_inline int set_addresses(struct __sk_buff *skb, void *fresh, __u32 size, __u32 at, __u32 udp_at)
{
	__u8 old[32];
	__s64 difference;

	if (bpf_skb_load_bytes(skb, at, old, size))
		return -1;
	difference = bpf_csum_diff((__be32 *)old, size, fresh, size, 0);
	if (at == ETH_HEADER + offsetof(struct ipv4, src) && size == 8 &&
	    bpf_l3_csum_replace(skb, ETH_HEADER + offsetof(struct ipv4, check), 0, difference, 0))
		return -1;
	if (bpf_l4_csum_replace(skb, udp_at + offsetof(struct udp, check), 0, difference,
				BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0))
		return -1;
	return bpf_skb_store_bytes(skb, at, fresh, size, 0);
}

/* set_ports puts the train's ports, 4 bytes, into the UDP header. Where the device makes the checksum, they are no part
 * of what it needs in the field, which bpf_l4_csum_replace knows. */
static __always_inline int set_ports(struct __sk_buff *skb, struct train *t, __u32 udp_at)
{
	__be32 old, fresh = 0;

	__builtin_memcpy(&fresh, &t->src_port, sizeof(fresh));
	if (bpf_skb_load_bytes(skb, udp_at, &old, sizeof(old)))
		return -1;
	if (bpf_l4_csum_replace(skb, udp_at + offsetof(struct udp, check), old, fresh,
				sizeof(fresh) | BPF_F_MARK_MANGLED_0))
		return -1;
	return bpf_skb_store_bytes(skb, udp_at, &fresh, sizeof(fresh), 0);
}

static __always_inline int rewrite(struct __sk_buff *skb, struct train *t)
{
	__u8 fresh[32];

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		__builtin_memcpy(fresh, t->src, 4);
		__builtin_memcpy(fresh + 4, t->dst, 4);
		return set_addresses(skb, fresh, 8, ETH_HEADER + offsetof(struct ipv4, src), ETH_HEADER + sizeof(struct ipv4)) ||
		       set_ports(skb, t, ETH_HEADER + sizeof(struct ipv4));
	}
	__builtin_memcpy(fresh, t->src, 16);
	__builtin_memcpy(fresh + 16, t->dst, 16);
	return set_addresses(skb, fresh, 32, ETH_HEADER + offsetof(struct ipv6, src), ETH_HEADER + sizeof(struct ipv6)) ||
	       set_ports(skb, t, ETH_HEADER + sizeof(struct ipv6));
}

/* send sends a train and returns the verdict on its packet. */
static __always_inline int send(struct __sk_buff *skb, struct train *t)
{
	__u32 mtu = 0;
	long err;

	if (t->outcome != TRAIN_WAITING) /* Sent already: what is written there may be another's by now. */
		return TC_ACT_SHOT;
	err = bpf_check_mtu(skb, t->device, &mtu, 0, BPF_MTU_CHK_SEGS);
	if (err) {
		t->outcome = err > 0 ? TRAIN_TOO_BIG : TRAIN_NO_DEVICE;
		return TC_ACT_SHOT;
	}
	if (rewrite(skb, t)) {
		t->outcome = TRAIN_ERROR;
		return TC_ACT_SHOT;
	}
	t->outcome = TRAIN_SENT;
	/* The kernel finds the neighbour. If we named one, a packet that waits for its answer would come out on lo. */
	return bpf_redirect_neigh(t->device, NULL, 0, 0);
}

SEC("tc")
int anyport_transmit(struct __sk_buff *skb)
{
	struct train *t;
	__u8 protocol = 0;

	/* The other traffic of lo is let go as soon as possible. */
	if (skb->protocol == bpf_htons(ETH_P_IP))
		bpf_skb_load_bytes(skb, ETH_HEADER + offsetof(struct ipv4, protocol), &protocol, 1);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		bpf_skb_load_bytes(skb, ETH_HEADER + offsetof(struct ipv6, protocol), &protocol, 1);
	if (protocol != IPPROTO_UDP)
		return TC_ACT_UNSPEC;
	t = find_train(skb);
	return t ? send(skb, t) : TC_ACT_UNSPEC;
}

char __license[] SEC("license") = "Dual BSD/GPL";
