package upstream

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"
)

// What is scanned is what the decoder finds.
func FuzzMembers(f *testing.F) {
	for _, value := range []string{
		`{}`, ` { "a" : 1 , "b":{"c":[1,{"d":"]}\\"}]},"\"":"\"","e":null , "f":"" } `, `[1, "a,]" ,{},[[]] , true]`, `[]`, `1`, `"x"`, `{"a":1,"a":-2.5e3}`,
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if !json.Valid([]byte(value)) {
			return
		}
		var object map[string]json.RawMessage
		json.Unmarshal([]byte(value), &object)
		got := make(fields)
		for name, member := range members([]byte(value)) {
			got = got.with(name, member)
		}
		if !maps.EqualFunc(got, object, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Errorf("members %s, want %s", got, object)
		}
		var array []json.RawMessage
		json.Unmarshal([]byte(value), &array)
		if got := slices.Collect(elements([]byte(value))); len(got) != len(array) || len(got) > 0 && !reflect.DeepEqual(got, array) {
			t.Errorf("elements %s, want %s", got, array)
		}
	})
}
