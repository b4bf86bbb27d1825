// Package offload puts tc programs onto the devices of a network namespace, and keeps them there as devices come and
// go: by tcx, or by the clsact qdisc where the kernel has no tcx ([Attach], [Links]).
package offload
