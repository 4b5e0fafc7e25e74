package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"tokenrelay/chunker"
)

const (
	// patience is after how long it is worth showing that something goes on.
	patience = time.Second

	// meterPause is the least time between two states of a meter.
	meterPause = 250 * time.Millisecond
)

// eraseLine takes the cursor's line off a terminal.
const eraseLine = "\r\x1b[K"

// A meter shows on a terminal how far a text is cut, in one line that it takes
// away at the end. A nil meter shows nothing.
type meter struct {
	w     io.Writer
	now   func() time.Time
	width func() int // of the terminal in columns; 0 if it is not known
	size  int64      // of the text in bytes; 0 if it is not known
	unit  chunker.Unit
	start time.Time
	shown time.Time // zero if nothing is on the terminal
}

func newMeter(w io.Writer, now func() time.Time, width func() int, size int64, unit chunker.Unit) *meter {
	return &meter{w: w, now: now, width: width, size: size, unit: unit, start: now()}
}

// show may be called as often as there is something new.
func (m *meter) show(t *totals) {
	if m == nil {
		return
	}
	now := m.now()
	past := now.Sub(m.start)
	if past < patience || now.Sub(m.shown) < meterPause {
		return
	}
	m.shown = now
	const mega = 1e6
	done := float64(t.in) / mega
	speed := done / past.Seconds()
	line := fmt.Sprintf("%.1f MB", done)
	if m.size > 0 {
		line = fmt.Sprintf("%.1f of %.1f MB, %d%%", done, float64(m.size)/mega, min(100*t.in/m.size, 100))
	}
	line = fmt.Sprintf("%s, %.1f MB/s, %s", line, speed, counted(t.units, string(m.unit)))
	if width := m.width(); width > 0 {
		// Only one line can be erased. Some terminals wrap once the last
		// column is written.
		line = line[:min(len(line), width-1)]
	}
	io.WriteString(m.w, eraseLine+line)
}

// erase leaves the terminal as it was.
func (m *meter) erase() {
	if m != nil && !m.shown.IsZero() {
		io.WriteString(m.w, eraseLine)
		m.shown = time.Time{}
	}
}

// intoFile reports whether what is written to w is only kept or dropped, not
// shown or read meanwhile.
func intoFile(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || isTerminal(file) {
		return false
	}
	info, err := file.Stat()
	return err == nil && (info.Mode().IsRegular() || info.Mode()&os.ModeCharDevice != 0) // such as /dev/null
}

// bytesAhead returns how much of a file is to be read, or 0 if that is not
// known.
func bytesAhead(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0
	}
	return max(info.Size()-at, 0)
}

// counted returns a number with what it counts, as in "1,234 lines".
func counted(n int64, noun string) string {
	s := grouped(n) + " " + noun
	if n != 1 {
		s += "s"
	}
	return s
}

// grouped writes n ≥ 0 with commas.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
