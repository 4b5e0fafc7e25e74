package cli

import (
	"fmt"
	"io"
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
