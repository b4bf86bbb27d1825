//go:build ignore

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * anyport_offload forwards the UDP packets of flows that user space has put into its maps, both ways, as a router that
 * changes addresses would. The kernel runs it for what a device receives, before netfilter and routing (tcx, Linux 6.6).
 *
 *	client -> original destination   becomes   NAT address and port -> upstream
 *	upstream -> NAT address and port   becomes   original destination -> client
 *
 * Whatever it does not forward goes on to the next program and up to the sockets, unchanged: everything that can keep a
 * packet here is looked at before its first byte is written. The route is asked for as the host itself would ask (an
 * ingress lookup from lo is an output lookup), so that it is the one that the sockets' datagrams take, and remembered for
 * some milliseconds (path.h); the neighbour is the kernel's business (bpf_redirect_neigh), so that it is probed and resolved
 * as for any packet. TTL and hop limit are decremented, because a packet that is sent on by the address it came with must
 * not go round for ever.
 */
#include "checksum.h"
#include "find.h"
#include "frame.h"
#include "path.h"

char __license[] SEC("license") = "Dual BSD/GPL";

/* What a tcx program returns (enum tcx_action_base, Linux 6.6) to let the next program, if any, decide. */
enum { TCX_NEXT = -1 };

enum { PACKET_HOST = 0 }; /* linux/if_packet.h: sent to the device's own address */

static __always_inline void count(enum outcome outcome)
{
	__u64 *n = bpf_map_lookup_elem(&outcomes, &outcome);

	if (n)
		(*n)++; /* per CPU, and ingress runs with softirqs off */
}

static __always_inline int leave(enum outcome why)
{
	count(why);
	return TCX_NEXT;
}

/* What parse returns besides an outcome: not UDP, or nothing that can be parsed. */
enum { NOT_OURS = OUTCOMES };

/* fits reports whether a frame has the size that its packet needs. */
static __always_inline bool fits(struct __sk_buff *skb, __u32 needed)
{
	return skb->len == needed || (skb->len == ETH_SHORTEST && needed < ETH_SHORTEST);
}

static __always_inline int parse_udp(struct __sk_buff *skb, const struct udp *udp, struct packet *p)
{
	__u32 size = bpf_ntohs(udp->length);

	p->payload = size - sizeof(*udp);
	p->udp_checksum = udp->checksum;
	p->from_to.source_port = udp->source;
	p->from_to.destination_port = udp->destination;
	if (size < sizeof(*udp) || p->length != ip_header_size(p) + size || !fits(skb, ETH_HEADER + p->length))
		return OUTCOME_LENGTH;
	return OUTCOME_IN;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	void *frame = linear(skb, ETH_HEADER + sizeof(struct ipv4) + sizeof(struct udp));
	const struct ipv4 *ip = frame + ETH_HEADER;

	if (!frame || ip->protocol != IPPROTO_UDP)
		return NOT_OURS;
	if (ip->fragment & bpf_htons(IPV4_FRAGMENT))
		return OUTCOME_FRAGMENT;
	if (ip->version_length != IPV4_PLAIN)
		return OUTCOME_OPTIONS;
	p->family = AF_INET;
	p->ttl = ip->ttl;
	p->checksum = ip->checksum;
	p->length = bpf_ntohs(ip->length);
	p->from_to.source = mapped(ip->source);
	p->from_to.destination = mapped(ip->destination);
	return parse_udp(skb, (void *)(ip + 1), p);
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
	void *frame = linear(skb, ETH_HEADER + sizeof(struct ipv6) + sizeof(struct udp));
	const struct ipv6 *ip = frame + ETH_HEADER;

	if (!frame || ip->next != IPPROTO_UDP)
		return NOT_OURS;
	p->family = AF_INET6;
	p->ttl = ip->hop_limit;
	p->checksum = 0;
	p->length = sizeof(*ip) + bpf_ntohs(ip->length);
	p->from_to.source = ip->source;
	p->from_to.destination = ip->destination;
	return parse_udp(skb, (void *)(ip + 1), p);
}

/*
 * parse reads a packet that is meant for this host. On the device below a VLAN, its packets are not: they come again on
 * the VLAN's own. lo brings those of the host's own clients, which are the sockets' business.
 */
static __always_inline int parse(struct __sk_buff *skb, struct packet *p)
{
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present || skb->ifindex == LOOPBACK)
		return NOT_OURS;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_ipv4(skb, p);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(skb, p);
	return NOT_OURS;
}

/* is_idle reports whether neither half has carried anything for long. The other one is looked at only if need be. */
static __always_inline bool is_idle(const struct half *h, const struct half *other, __u32 now)
{
	return h->idle && (__s32)(now - h->seen) > (__s32)h->idle && (__s32)(now - other->seen) > (__s32)h->idle;
}

/* The bytes from the TTL of an IPv4 header to the end of the UDP header: all that changes. */
struct ipv4_change {
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__be32 source;
	__be32 destination;
	struct udp udp;
};

/* The same of IPv6, from the payload's length on. */
struct ipv6_change {
	__be16 length;
	__u8 next;
	__u8 hop_limit;
	struct ip_address source;
	struct ip_address destination;
	struct udp udp;
} __attribute__((packed, aligned(4)));

static __always_inline long write_ipv4(struct __sk_buff *skb, const struct packet *p, const struct tuple *to, __u32 delta,
				       const struct udp *udp)
{
	struct ipv4_change c = {
		.ttl = p->ttl - 1,
		.protocol = IPPROTO_UDP,
		.checksum = ~fold((__u64)(__u16)~p->checksum + delta + (__u16)~bpf_htons(0x0100)), /* the TTL's 1 */
		.source = to->source.word[3],
		.destination = to->destination.word[3],
		.udp = *udp,
	};

	return bpf_skb_store_bytes(skb, ETH_HEADER + offsetof(struct ipv4, ttl), &c, sizeof(c), 0);
}

static __always_inline long write_ipv6(struct __sk_buff *skb, const struct packet *p, const struct tuple *to,
				       const struct udp *udp)
{
	struct ipv6_change c = {
		.length = bpf_htons(p->length - sizeof(struct ipv6)),
		.next = IPPROTO_UDP,
		.hop_limit = p->ttl - 1,
		.source = to->source,
		.destination = to->destination,
		.udp = *udp,
	};

	return bpf_skb_store_bytes(skb, ETH_HEADER + offsetof(struct ipv6, length), &c, sizeof(c), 0);
}

/*
 * resum mends what a device has summed up. The IPv4 header sums up to nothing, before and after. Where UDP has a checksum,
 * it makes up for the ports and the addresses, of which IPv4's are not summed up here but there; for IPv6's hop limit
 * nothing does.
 */
static __always_inline void resum(struct __sk_buff *skb, const struct packet *p, const struct tuple *to, __u32 delta)
{
	if (!p->udp_checksum)
		bpf_csum_update(skb, ports_delta(&p->from_to, to));
	else if (p->family == AF_INET)
		bpf_csum_update(skb, ~delta);
	if (p->family == AF_INET6)
		bpf_csum_update(skb, ~(__u32)bpf_htons(1));
}

/* rewrite gives a packet its new addresses, all at once. It returns 0, or an error if nothing was changed. */
static __always_inline long rewrite(struct __sk_buff *skb, const struct packet *p, const struct tuple *to, __u32 delta)
{
	enum summed s = summed(skb);
	struct udp udp = {
		.source = to->source_port,
		.destination = to->destination_port,
		.length = bpf_htons(sizeof(udp) + p->payload),
		.checksum = mend(s, p, to, delta),
	};
	long err = p->family == AF_INET ? write_ipv4(skb, p, to, delta, &udp) : write_ipv6(skb, p, to, &udp);

	if (!err && s == SUMMED_COMPLETE)
		resum(skb, p, to, delta);
	return err;
}

static __always_inline void account(struct __sk_buff *skb, const struct packet *p, struct half *h, __u32 now)
{
	__sync_fetch_and_add(&h->packets, skb->gso_segs ? skb->gso_segs : 1);
	__sync_fetch_and_add(&h->bytes, p->payload);
	h->seen = now;
}

SEC("tcx/ingress")
int anyport_offload(struct __sk_buff *skb)
{
	struct packet p = {};
	struct path *way;
	struct meta *m;
	struct flow *f;
	struct half *h;
	__u32 now, half, key = 0;
	int why = parse(skb, &p);

	if (why == NOT_OURS)
		return TCX_NEXT;
	if (why != OUTCOME_IN)
		return leave(why);
	m = bpf_map_lookup_elem(&meta, &key);
	if (!m)
		return TCX_NEXT;
	f = find(&p.from_to, m->seed, &half);
	if (!f)
		return TCX_NEXT;
	if (!m->on)
		return leave(OUTCOME_OFF);
	h = half % 2 ? &f->out : &f->in;
	now = bpf_ktime_get_coarse_ns() >> TIME_SHIFT;
	if (is_idle(h, half % 2 ? &f->in : &f->out, now))
		return leave(OUTCOME_IDLE);
	if (p.ttl <= 1)
		return leave(OUTCOME_TTL);
	if (segment(skb, &p) > h->longest)
		return leave(OUTCOME_TOO_BIG);
	key = half % PATHS;
	way = bpf_map_lookup_elem(&paths, &key);
	if (!way)
		return TCX_NEXT;
	why = route(skb, &p, &h->to, way, half + 1, now, m->changes);
	if (why)
		return leave(why);
	if (rewrite(skb, &p, &h->to, h->delta))
		return leave(OUTCOME_MEMORY);
	account(skb, &p, h, now);
	count(half % 2 ? OUTCOME_OUT : OUTCOME_IN);
	return bpf_redirect_neigh(way->device, &way->next, sizeof(way->next), 0);
}
