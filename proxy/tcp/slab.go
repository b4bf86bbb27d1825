package tcp

// slab holds a worker's connections in chunks that never move and that hold no pointers, so that the garbage
// collector has nothing to do with them however many there are. Its memory is kept for the connections to come.
type slab struct {
	chunks [][]conn
	first  int32 // free slot, or noSlot
	used   int   // slots that hold a connection
}

const (
	chunkBits  = 9 // 512 connections: 84 KiB at a time
	chunkConns = 1 << chunkBits
	noSlot     = -1
)

func newSlab() slab { return slab{first: noSlot} }

// at returns the slot with that index.
func (s *slab) at(i int32) *conn { return &s.chunks[i>>chunkBits][i&(chunkConns-1)] }

// find returns the connection and side that key was made of, or nil if that connection has ended.
func (s *slab) find(key uint64) (*conn, side) {
	c := s.at(int32(uint32(key) >> 1))
	if c.generation != uint32(key>>32) || c.state == free {
		return nil, 0
	}
	return c, side(key & 1)
}

// get returns a free slot, cleared but for its index and a generation of its own.
func (s *slab) get() *conn {
	if s.first == noSlot {
		s.grow()
	}
	c := s.at(s.first)
	s.first = c.nextFree
	generation := c.generation + 1
	if generation == 0 {
		generation = 1
	}
	*c = conn{index: c.index, generation: generation, nextFree: noSlot}
	s.used++
	return c
}

// put gives a slot back.
func (s *slab) put(c *conn) {
	c.state = free
	c.nextFree = s.first
	s.first = c.index
	s.used--
}

func (s *slab) grow() {
	base := int32(len(s.chunks)) << chunkBits
	chunk := make([]conn, chunkConns)
	s.chunks = append(s.chunks, chunk)
	for i := chunkConns - 1; i >= 0; i-- {
		chunk[i].index = base + int32(i)
		chunk[i].nextFree = s.first
		s.first = chunk[i].index
	}
}

// each calls f for every connection. f may end it.
func (s *slab) each(f func(*conn)) {
	for _, chunk := range s.chunks {
		for i := range chunk {
			if chunk[i].state != free {
				f(&chunk[i])
			}
		}
	}
}
