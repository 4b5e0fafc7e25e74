package cli

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A byteSize is a number of bytes. As text it may have a unit, as in 256MiB.
type byteSize int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *byteSize) UnmarshalText(text []byte) error {
	digits, unit := strings.TrimSpace(string(text)), 1
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if number, ok := strings.CutSuffix(digits, suffix); ok {
			digits, unit = strings.TrimSpace(number), 1<<(10*(i+1))
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64/int64(unit) || n < math.MinInt64/int64(unit) {
		return fmt.Errorf("wants %s, not %q", sizeWords, text)
	}
	*b = byteSize(n * int64(unit))
	return nil
}

// A logLevel is a slog.Level whose errors are in words of ours.
type logLevel slog.Level

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *logLevel) UnmarshalText(text []byte) error {
	if (*slog.Level)(l).UnmarshalText(text) != nil {
		return fmt.Errorf("wants %s, not %q", levelWords, text)
	}
	return nil
}

// What an option wants, in words.
const (
	sizeWords     = "bytes, as in 1048576, 64KiB, 1MiB or 1GiB"
	levelWords    = "one of debug, info, warn, error"
	durationWords = "a duration with its unit, such as 90s"
)

// fits refuses a value of the configuration file that kong would refuse in
// words of its own, or take for another: half a number for a whole. Its error
// tells what the option wants; words are all that it may be, if it is one of
// few.
func fits(target reflect.Type, words []string, value any) error {
	text, isText := value.(string)
	number := isNumber(value)
	want, ok := "text", isText
	switch {
	case target == reflect.TypeFor[time.Duration]():
		_, err := time.ParseDuration(text)
		want, ok = durationWords, isText && err == nil
	case target == reflect.TypeFor[byteSize]():
		want, ok = sizeWords, (isText || number) && new(byteSize).UnmarshalText(fmt.Append(nil, value)) == nil
	case target == reflect.TypeFor[logLevel]():
		want, ok = levelWords, isText && new(logLevel).UnmarshalText([]byte(text)) == nil
	case len(words) > 0:
		want, ok = "one of "+strings.Join(words, ", "), isText && slices.Contains(words, text)
	case target.Kind() == reflect.Slice:
		want, ok = "a list of text", isText
		if list, isList := value.([]any); isList {
			for _, element := range list {
				if _, isText := element.(string); !isText {
					return fmt.Errorf("wants a list of text, not of %s", shown(element))
				}
			}
			ok = true
		}
	case target.Kind() == reflect.Bool:
		_, isBool := value.(bool)
		want, ok = "true or false", isBool
	case target.Kind() != reflect.String:
		_, err := strconv.ParseInt(fmt.Sprint(value), 10, 64)
		want, ok = "a whole number", (isText || number) && err == nil
	}
	if !ok {
		return fmt.Errorf("wants %s, not %s", want, shown(value))
	}
	return nil
}

// isNumber reports whether a value of the configuration file is a whole number.
func isNumber(value any) bool {
	switch value.(type) {
	case int, int64, uint64:
		return true
	}
	return false
}

// nearest returns the known key that is most like key; empty if none is, but
// for two letters.
func nearest(key string, known map[string]bool) (near string) {
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	least := 3
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if d := distance(key, name); known[name] && d < least && d < len(name)/2 {
			near, least = name, d
		}
	}
	return near
}

// distance is how many letters are to be added, removed or replaced to make b
// of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // from the start of a to each start of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
