package main

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"anyport/conf"
)

// appliedByReload are the fields of a configuration that a reload puts in force, or that only describe it.
var appliedByReload = []string{"File", "Text", "Prefixes", "OpenPrefixes", "AllowOnLink", "UDPSources", "TCPSources", "DrainTimeout",
	"ResolveMin", "ResolveMax",
	"Routes", "DNS", "Warnings"}

// Every field of a configuration is either put in force by a reload, or an operator who changes it is told otherwise.
func TestEveryChangeIsAppliedOrTold(t *testing.T) {
	fields := reflect.TypeFor[conf.Config]()
	for i := range fields.NumField() {
		var old, fresh conf.Config
		setOther(t, reflect.ValueOf(&fresh).Elem().Field(i))
		told := changedForRestart(&old, &fresh)
		if name := fields.Field(i).Name; slices.Contains(appliedByReload, name) != (len(told) == 0) || len(told) > 1 {
			t.Errorf("a change of %s is told as %q", name, told)
		}
	}
}

// setOther makes a zero value another one.
func setOther(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8:
		v.SetUint(1)
	case reflect.String:
		v.SetString("other")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Struct:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort("127.0.0.1:9464")))
	default:
		t.Fatalf("no other value of %s is known", v.Type())
	}
}
