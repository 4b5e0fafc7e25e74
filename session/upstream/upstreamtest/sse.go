package upstreamtest

import "fmt"

const comment = ": keep-alive\n\n"

// data is an event without a name.
func data(format string, args ...any) string {
	return "data: " + fmt.Sprintf(format, args...) + "\n\n"
}

// named is an event whose data has its name as the type.
func named(name, format string, args ...any) string {
	return "event: " + name + "\ndata: {\"type\":\"" + name + "\"" + fmt.Sprintf(format, args...) + "}\n\n"
}
