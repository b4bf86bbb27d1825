package tcp

import (
	"reflect"
	"testing"
	"unsafe"
)

// A connection costs one slot. The limit is what the proxy promises: 192 bytes of user memory while it idles.
func TestConnectionSize(t *testing.T) {
	if size := unsafe.Sizeof(conn{}); size > 192 {
		t.Errorf("a connection takes %d bytes", size)
	}
	if chunk := unsafe.Sizeof(conn{}) * chunkConns; chunk > 96<<10 {
		t.Errorf("a chunk takes %d bytes", chunk)
	}
}

func TestConnectionHasNoPointer(t *testing.T) {
	if path := pointerIn(reflect.TypeFor[conn]()); path != "" {
		t.Errorf("conn%s is one", path)
	}
	if path := pointerIn(reflect.TypeFor[handover]()); path != "" {
		t.Errorf("handover%s is one", path)
	}
}

// pointerIn returns where in a type a pointer is, or "".
func pointerIn(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		for f := range t.Fields() {
			if path := pointerIn(f.Type); path != "" {
				return "." + f.Name + path
			}
		}
		return ""
	case reflect.Array:
		return pointerIn(t.Elem())
	case reflect.Bool, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int, reflect.Uint8,
		reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return ""
	}
	return " (" + t.String() + ")"
}

func TestSlabTellsGenerationsApart(t *testing.T) {
	s := newSlab()
	first := s.get()
	first.state = connecting
	key := first.key(upstream)
	if c, side := s.find(key); c != first || side != upstream {
		t.Fatalf("found %p, side %d", c, side)
	}
	s.put(first)
	if c, _ := s.find(key); c != nil {
		t.Error("found a connection that has ended")
	}
	second := s.get()
	second.state = relaying
	if second != first {
		t.Error("the free slot was not used again")
	}
	if c, _ := s.find(key); c != nil {
		t.Error("found the connection after by the key of the one before")
	}
	if !isConnection(key) {
		t.Error("a connection has a reserved key")
	}
}

func TestSlabGenerationSkipsZero(t *testing.T) {
	s := newSlab()
	c := s.get()
	s.put(c)
	c.generation = ^uint32(0)
	if c = s.get(); c.generation != 1 {
		t.Errorf("generation %d after the last one", c.generation)
	}
}

func TestSlabGrows(t *testing.T) {
	s := newSlab()
	const n = 3*chunkConns + 1
	seen := make(map[*conn]bool)
	for range n {
		c := s.get()
		c.state = relaying
		seen[c] = true
	}
	if len(seen) != n || s.used != n || len(s.chunks) != 4 {
		t.Fatalf("%d slots, %d used, %d chunks", len(seen), s.used, len(s.chunks))
	}
	s.each(func(c *conn) {
		if !seen[c] || s.at(c.index) != c {
			t.Errorf("slot %d is out of place", c.index)
		}
		s.put(c)
	})
	if s.used != 0 {
		t.Errorf("%d used after all were given back", s.used)
	}
}
