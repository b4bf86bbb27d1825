package limit

// table maps networks to how many of each are open: a hash table with linear probing. An entry that becomes empty is
// taken out at once, and those behind it move up, so that probing never gets longer with time.
type table struct {
	entries []entry // a power of 2 of them
	used    int     // that are not empty
}

// entry is one network's count, in 24 bytes. The zero value is an empty one.
type entry struct {
	network [16]byte
	hash    uint32
	open    uint32 // 0: empty
}

// fewEntries is what a table begins with.
const fewEntries = 16

// at returns the entry of a network. If it has none, that is an empty one which bears its name: added must be called
// once it counts something. It is valid until the next call of added or remove.
func (t *table) at(network *[16]byte, hash uint32) *entry {
	if t.entries == nil {
		t.entries = make([]entry, fewEntries)
	}
	for i := t.home(hash); ; i = t.next(i) {
		e := &t.entries[i]
		switch {
		case e.open == 0:
			*e = entry{network: *network, hash: hash}
			return e
		case e.hash == hash && e.network == *network:
			return e
		}
	}
}

func (t *table) home(hash uint32) int { return int(hash) & (len(t.entries) - 1) }

func (t *table) next(i int) int { return (i + 1) & (len(t.entries) - 1) }

// added counts an entry that is empty no more. At least a quarter of the entries stay empty.
func (t *table) added() {
	t.used++
	if t.used <= len(t.entries)/4*3 {
		return
	}
	old := t.entries
	t.entries = make([]entry, 2*len(old))
	for i := range old {
		if old[i].open != 0 {
			*t.at(&old[i].network, old[i].hash) = old[i]
		}
	}
}

// remove takes out an entry that has become empty. Each one behind it, up to the next empty one, moves to the gap unless
// it would come to lie before its home.
func (t *table) remove(e *entry) {
	t.used--
	gap := t.home(e.hash)
	for &t.entries[gap] != e {
		gap = t.next(gap)
	}
	mask := len(t.entries) - 1
	for i := t.next(gap); t.entries[i].open != 0; i = t.next(i) {
		if fromHome := (i - t.home(t.entries[i].hash)) & mask; fromHome >= (i-gap)&mask {
			t.entries[gap], gap = t.entries[i], i
		}
	}
	t.entries[gap] = entry{}
}
