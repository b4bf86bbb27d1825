package udp

// flowList is a doubly linked list through the flows themselves, oldest first. Each method takes the table's flows.
type flowList struct {
	head, tail flowID
}

func newFlowList() flowList { return flowList{noFlow, noFlow} }

func (l *flowList) empty() bool { return l.head == noFlow }

// push puts a flow that is in no list at the end.
func (l *flowList) push(flows []flow, id flowID) {
	f := &flows[id]
	f.prev, f.next = l.tail, noFlow
	if l.tail == noFlow {
		l.head = id
	} else {
		flows[l.tail].next = id
	}
	l.tail = id
}

// remove takes a flow out of the list that it is in.
func (l *flowList) remove(flows []flow, id flowID) {
	f := &flows[id]
	if f.prev == noFlow {
		l.head = f.next
	} else {
		flows[f.prev].next = f.next
	}
	if f.next == noFlow {
		l.tail = f.prev
	} else {
		flows[f.next].prev = f.prev
	}
}
