package session

// A genSnippet is a piece of code and the line that introduces it. The code
// stands in a fence as it is, without slots, and holds no fence itself.
type genSnippet struct {
	lead     string
	language string
	text     string // begins with a newline, for the sake of this file, and ends with one
}

var genStreamingCode = []genSnippet{
	{"Sending one event takes three lines and a flush:", "go", `
func send(w http.ResponseWriter, id uint64, data []byte) error {
	if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", id, data); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
`},
	{"In the browser the other end is shorter still:", "javascript", `
const source = new EventSource("/v1/sessions/" + id + "/events");
source.onmessage = (event) => {
  output.textContent += JSON.parse(event.data).text;
};
source.addEventListener("done", () => source.close());
`},
	{"One can leave and come back with nothing but a shell:", "bash", `
# Leave after five seconds, come back at the next event.
last=$(timeout 5 curl -sN "$url" | sed -n 's/^id: //p' | tail -n 1)
curl -N -H "Last-Event-ID: $last" "$url"
`},
}

var genLogsCode = []genSnippet{
	{"The whole idea fits into one type:", "go", `
type Log struct {
	mu      sync.Mutex
	records [][]byte
}

// Append adds a record and returns its number, from 1.
func (l *Log) Append(record []byte) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, bytes.Clone(record))
	return len(l.records)
}
`},
	{"Reading it back, and stopping where the power went:", "python", `
import struct, zlib

def records(file):
    while len(head := file.read(8)) == 8:
        size, checksum = struct.unpack("<II", head)
        data = file.read(size)
        if len(data) < size or zlib.crc32(data) != checksum:
            return  # torn: all before it is history
        yield data
`},
	{"For logs of the other kind, the old tools are still the best:", "bash", `
# The ten busiest minutes of today.
grep "^$(date +%F)" service.log | cut -c 1-16 | sort | uniq -c | sort -rn | head
`},
}

var genIDsCode = []genSnippet{
	{"Sixteen random bytes make an id that is safe in a URL:", "go", `
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // of crypto/rand, which cannot fail
	return base64.RawURLEncoding.EncodeToString(b[:])
}
`},
	{"Or in letters that survive the telephone:", "javascript", `
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const bytes = crypto.getRandomValues(new Uint8Array(26));
const id = Array.from(bytes, (byte) => alphabet[byte % 32]).join("");
`},
	{"What a server remembers about one of them:", "json", `
{
  "id": "4ZK0C9V7N2R8XQ5T1WJ6HB3MDY",
  "state": "running",
  "last_event_id": 41,
  "producers": {"p1": 7, "p2": 3}
}
`},
	{"The first digits of a UUIDv7 are a clock:", "python", `
from datetime import datetime, timezone

def created(uuid7):
    """Returns when a UUIDv7 was made, to the millisecond."""
    milliseconds = int(uuid7.replace("-", "")[:12], 16)
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
`},
}

var genTidesCode = []genSnippet{
	{"A first approximation needs only a cosine:", "python", `
from math import cos, pi

def level(hours, mean=2.4, swing=3.6, period=12.42):
    """Metres above chart datum, hours after high water."""
    return mean + swing / 2 * cos(2 * pi * hours / period)

for hour in range(0, 13, 3):
    print(f"{hour:2d} h  {level(hour):.1f} m")
`},
	{"The rule of twelfths, for those who would rather count:", "go", `
// twelfths is the part of the range that each hour brings.
var twelfths = [6]int{1, 2, 3, 3, 2, 1}

func height(low, high float64, hours int) float64 {
	sum := 0
	for _, n := range twelfths[:hours] {
		sum += n
	}
	return low + (high-low)*float64(sum)/12
}
`},
	{"The harbour master publishes it like this:", "json", `
{
  "harbour": "Cuxhaven",
  "unit": "m",
  "high": [{"at": "03:42", "level": 3.4}, {"at": "16:08", "level": 3.3}],
  "low": [{"at": "10:21", "level": 0.4}, {"at": "22:47", "level": 0.5}]
}
`},
}

var genBridgesCode = []genSnippet{
	{"How far a beam gives way, before anybody notices:", "python", `
def sag(load, span, modulus, inertia):
    """Deflection of a simple beam under an even load, in metres."""
    return 5 * load * span**4 / (384 * modulus * inertia)

print(f"{sag(12e3, 20, 210e9, 8e-3) * 1000:.1f} mm")  # 14.9 mm
`},
	{"The width of the gap is school arithmetic:", "go", `
// gap returns by how much a steel deck grows, in millimetres.
func gap(metres, coldest, hottest float64) float64 {
	const perKelvin = 12e-6
	return metres * (hottest - coldest) * perKelvin * 1000
}
`},
	{"Settling an argument among engineers:", "javascript", `
const bridges = [
  { name: "Humber", span: 1410 },
  { name: "Forth", span: 521 },
  { name: "Brooklyn", span: 486 },
];
const longest = bridges.reduce((a, b) => (a.span > b.span ? a : b));
console.log(longest.name + ": " + longest.span + " m");
`},
	{"The report of the last inspection was short:", "json", `
{
  "bridge": "Mill Lane",
  "spans_m": [6.5, 8.0, 6.5],
  "bolts": {"tapped": 212, "loose": 1},
  "remark": "The loose one has been spoken to."
}
`},
}

var genTeaCode = []genSnippet{
	{"A kettle, as a front-end developer sees it:", "javascript", `
const wait = (minutes) => new Promise((done) => setTimeout(done, minutes * 60_000));

async function brew(tea) {
  console.log("Pouring " + tea.name + " at " + tea.celsius + " °C");
  await wait(tea.minutes);
  console.log("Ready. Do not discuss the milk.");
}
`},
	{"When to drink it is a question for Newton:", "python", `
from math import log

def minutes_until(target, start=95.0, room=20.0, rate=0.035):
    """Newton's law of cooling, for a cup without a lid."""
    return log((start - room) / (target - room)) / rate

print(f"Drinkable in {minutes_until(60):.0f} minutes")  # 18
`},
	{"The smallest egg timer in the house:", "bash", `
kettle() { sleep "$1" && printf '\a%s\n' "The tea is ready."; }
kettle 240 &
`},
	{"A tea list that even a machine can follow:", "json", `
{
  "teas": [
    {"name": "Sencha", "celsius": 75, "minutes": 1.5},
    {"name": "Assam", "celsius": 100, "minutes": 4}
  ],
  "milk": null
}
`},
}

var genGardensCode = []genSnippet{
	{"How much to carry, after the rain has done its part:", "python", `
beds = {"carrots": 1.2, "lettuce": 2.0, "beans": 1.6}  # square metres
rain = 8  # litres per square metre this week

for name, area in beds.items():
    litres = max(0, 20 - rain) * area
    print(f"{name:8} {litres:5.1f} l")
`},
	{"Crop rotation is an index and a remainder:", "go", `
var rotation = []string{"legumes", "brassicas", "roots", "potatoes"}

// crop returns what grows in a bed in the given year.
func crop(bed, year int) string {
	return rotation[(bed+year)%len(rotation)]
}
`},
	{"The plan for the south wall, as of this morning:", "json", `
{
  "bed": "south wall",
  "rows": [
    {"crop": "tomato", "plants": 6, "spacing_cm": 60},
    {"crop": "basil", "plants": 12, "spacing_cm": 20}
  ],
  "watered": true
}
`},
	{"The garden diary, for people who live in a terminal:", "bash", `
# One line a day; the slugs keep no diary.
note() { printf '%s  %s\n' "$(date +%F)" "$*" >> garden.txt; }
note "First radish. Small, but convinced."
`},
}
