package session

// A genTopic is what [Generate] can say about one subject. Every fact stands by
// itself, so that any order of them reads well.
type genTopic struct {
	words    []string // of a prompt, in lower case, that ask for this topic
	subject  string   // its name within a sentence
	headings []string
	facts    []string
	quotes   []string // what was said, " // ", and by whom
	lists    []genList
	steps    []genList
	tables   []genTable
	code     []genSnippet
}

// A genList is a list and the line that introduces it. In a list of steps an
// item that begins with "- " belongs to the step before it.
type genList struct {
	lead  string
	items []string
}

// A genTable is a table and the line that introduces it; " | " separates cells.
type genTable struct {
	lead string
	head string
	rows []string
}

var genTopics = []genTopic{
	{
		words:   []string{"stream", "streams", "streaming", "sse", "event", "events", "eventsource", "websocket", "websockets", "token", "tokens", "relay", "resume"},
		subject: "a text that arrives piece by piece",
		headings: []string{
			"Why text arrives in pieces", "Leaving and coming back", "The slow reader", "What a pause means",
			"One text, many readers", "How fast is fast enough?", "The end, and how to say so",
		},
		facts: []string{
			"A stream is a promise kept **one piece at a time**, which is how most promises are kept anyway.",
			"The reader who leaves should find, on returning, *exactly* the next word and no apology.",
			"A browser that reconnects sends `Last-Event-ID`, the most polite header in all of HTTP.",
			"People read at some {220..260} words a minute; anything faster is showing off, and anything slower is suspense.",
			"A keep-alive every {ten|fifteen} seconds costs a few bytes and saves an hour of wondering.",
			"**Back-pressure** is a fine idea between two parties and a poor one among two hundred.",
			"If one slow reader can hold up the others, the design is a *convoy*, not a stream.",
			"The most important event is the last one, because everything before it is only *so far*.",
			"A stream that stops without saying `done` has not finished; it has merely gone quiet.",
			"Buffers make everything smoother, until the day they make everything **later**.",
			"Proxies mean well, but many of them collect a response until it seems worth their trouble.",
			"The first piece should arrive within {150..400} milliseconds; after that, people forgive a great deal.",
			"Closing the laptop is **not** the same as pressing *stop*, and a good server knows the difference.",
			"A piece may end in the middle of a word, but never in the middle of a character.",
			"Every reader holds a *position*, and a position is wonderfully cheap: it is one number.",
			"Many small events belong in **one write**, because the network charges by the envelope.",
			"On a train the connection drops {four|five|six} times between two stations, and the text should notice none of them.",
		},
		quotes: []string{
			"I never miss a word. I only read some of them later. // a reader on the {06:42|07:15|08:03} to Hamburg",
			"Silence is not a status code. // overheard at {an incident review|a retrospective}",
			"We do not push. We let them pull, quickly. // {a relay operator|the night shift}, asked for her secret",
		},
		lists: []genList{
			{"A stream that deserves trust keeps a few habits:", []string{
				"**It numbers its events**, starting at 1 and leaving no gaps.",
				"**It names its ending**, so that silence is never taken for success.",
				"**It forgives departures**: trains enter tunnels, batteries end.",
				"**It waits for nobody**, since a slow reader is a position and not an emergency.",
				"**It says the same thing** when it is asked twice.",
				"**It keeps its pieces small** and its envelopes large.",
			}},
			{"When a stream stutters, look here first:", []string{
				"A proxy between the two ends that buffers, with the best of intentions.",
				"Compression that waits for *more text* before it says anything at all.",
				"A missing `Flush` after the write, which is the software form of holding one’s breath.",
				"A tab in the background, where timers may run only {once a second|once a minute}.",
				"A browser with six connections to a host, all taken by tabs that nobody remembers opening.",
			}},
		},
		steps: []genList{
			{"To try a resume by hand:", []string{
				"Open the events and note the last `id` that was drawn.",
				"- Drawn, not received: what is not on the screen was not read.",
				"Pull the plug, in whichever way is nearest.",
				"Ask again, with `Last-Event-ID` set to that number.",
				"- The answer must begin with the *next* event.",
				"- An answer that starts over is another text in the same coat.",
				"Compare both halves with the whole, byte by byte.",
			}},
		},
		tables: []genTable{
			{"The usual ways to carry text, side by side:", "Transport | Direction | Reconnects by itself | Overhead", []string{
				"Server-Sent Events | one way | yes | {14..22} bytes",
				"WebSocket | both ways | no | 2 to 14 bytes",
				"Long polling | one way | no | a whole request",
				"HTTP/1.1 chunk | one way | no | 5 to 8 bytes",
				"HTTP/2 data frame | one way | no | 9 bytes",
			}},
			{"The same page, cut in different ways:", "Unit | Events | Feels like", []string{
				"rune | {1240..1320} | a typewriter",
				"grapheme | {1120..1170} | a careful typewriter",
				"token | {290..340} | a model, thinking",
				"word | {190..230} | somebody speaking",
				"line | {18..30} | a telegram",
			}},
		},
		code: genStreamingCode,
	},
	{
		words:   []string{"log", "logs", "logging", "append", "database", "databases", "storage", "disk", "crash", "commit", "fsync"},
		subject: "a log that is only ever appended to",
		headings: []string{
			"History, in order", "The virtue of appending", "After the crash", "One sync for many",
			"What a record is made of", "On forgetting whole books", "Who may write",
		},
		facts: []string{
			"An append-only log is a diary that refuses to be edited, and that is its **entire charm**.",
			"What has been appended is *history*; what has not is only intention.",
			"Readers of a log need no lock, because the past is not going anywhere.",
			"One `fsync` for {forty|sixty|a hundred} writers is called **group commit**, and is the closest thing that databases have to a bus.",
			"A record carries its length and a checksum, so that a torn one can be recognised and *quietly* left out.",
			"Truncating the front of a log is easy; explaining to a reader where page one went is not.",
			"The fastest index is the one that good numbering makes unnecessary.",
			"After a crash a record is either **there** or **not there**; a log that says *sort of* is a rumour.",
			"Compaction is tidying up while people are still living in the house.",
			"A disk that answers in {2..9} milliseconds has written; one that answers at once may be **bluffing**.",
			"Put the version of the format into the first byte, for the person you will be in {three|five|seven} years.",
			"Good logs are boring to read and *thrilling* to have.",
			"The offset `{1040..9980}` means nothing by itself, and everything beside the name of its log.",
			"Replaying is remembering with the doors closed: same input, same order, **same result**.",
			"Retention is the art of forgetting whole books and never single pages.",
			"Two writers on one log need a *lease*, or else a very good sense of humour.",
		},
		quotes: []string{
			"If it is not in the log, it was a lovely idea. // {a database engineer|an archivist}, to a visitor",
			"I trust disks the way I trust cats: with evidence. // {an operator|a storage engineer}, after the third outage",
			"The past is the only part of the system that never pages me. // the person on call",
		},
		lists: []genList{
			{"A record on disk is happiest with these parts:", []string{
				"A **length**, so that the reader knows when to stop.",
				"A **checksum**, so that the reader knows whom to believe.",
				"A **type**, because tomorrow there will be two of them.",
				"A **number**, without gaps and without opinions.",
				"A **payload**, which is none of the log’s business.",
			}},
			{"Signs that a log is in good health:", []string{
				"Recovery takes {two|three|four} seconds and has been *rehearsed*.",
				"The slowest commit of the day is known by name: `{38..96} ms`.",
				"Nobody has opened a file by hand since {spring|last autumn}.",
				"Old segments leave on schedule, like trains in the *better* stories.",
				"The test that pulls the plug runs every night, and its owner sleeps well.",
			}},
		},
		steps: []genList{
			{"Recovery, in the order in which it should happen:", []string{
				"Open the newest segment and read its header.",
				"- An unknown version is an error, never a guess.",
				"Walk the records and check every sum.",
				"Stop at the first record that is torn.",
				"- Everything before it is history.",
				"- Everything after it was never promised to anybody.",
				"Cut the file there, then sync it *and* its directory.",
			}},
		},
		tables: []genTable{
			{"What a sync costs depends on who is asked:", "Storage | One sync | Alone, per second | Grouped, per second", []string{
				"NVMe, protected | {20..60} µs | {16..30},000 | {150..300},000",
				"Consumer SSD | {1..3}.{1..9} ms | {260..900} | {9..24},000",
				"Hard disk | {8..12}.{0..9} ms | {78..118} | {3..6},000",
				"Network volume | {2..5}.{1..9} ms | {180..420} | {8..15},000",
			}},
			{"A quiet week, by segment:", "Segment | Records | Size | State", []string{
				"`000017` | {41..49},{100..999} | 64 MiB | expired",
				"`000018` | {41..49},{100..999} | 64 MiB | sealed",
				"`000019` | {41..49},{100..999} | 64 MiB | sealed",
				"`000020` | {41..49},{100..999} | 64 MiB | sealed",
				"`000021` | {3..9},{100..999} | {5..12} MiB | active",
			}},
		},
		code: genLogsCode,
	},
	{
		words:   []string{"id", "ids", "identifier", "identifiers", "uuid", "uuids", "number", "numbers", "key", "keys", "name", "names"},
		subject: "the humble identifier",
		headings: []string{
			"Counting, the oldest scheme", "What an id should not say", "On never reusing a number", "Random, and glad of it",
			"Ids on the telephone", "Numbers without gaps", "A name for everything",
		},
		facts: []string{
			"A good id is unique, short, and **says nothing about anybody**.",
			"Counting is the oldest scheme of all: it begins at `1`, and the next one is *never* a surprise.",
			"With 128 random bits the first collision is due after some 2^64 ids, by which time somebody else will be on call.",
			"A **UUIDv7** begins with the time, so it sorts by age without being asked.",
			"Ids are cheap to hand out and *impossible* to take back.",
			"An id that can be guessed is not an id but an **invitation**.",
			"The letters `I`, `l` and `O` and the digits `1` and `0` have ruined more telephone calls than bad weather.",
			"Crockford’s alphabet leaves out four letters, one of them only to avoid *accidental* obscenity.",
			"Never reuse a number: someone, somewhere, has it on a **sticky note**.",
			"A sequence without gaps is a promise about the *past*, which is the safest kind to make.",
			"The cafe\u0301 kept its table numbers on pebbles, and the pebbles never collided, except literally.",
			"If an id must be typed by hand, give it a **check digit**, and the person a chair.",
			"An idempotency key turns *at least once* into *as if once*, and is the cheapest insurance in computing.",
			"Leading zeros matter to people and not to machines, so one of the two is always disappointed.",
			"A snowflake id is forty-one bits of time, ten of machine and twelve of sequence, and no two are **alike**.",
			"Sorting numbers as strings works until the day `10` moves in next to `1`.",
		},
		quotes: []string{
			"We had two rooms called 7. We have one now. // {a hotel manager|a caretaker}, looking into the distance",
			"A random number is a name that nobody can be jealous of. // {a naming committee|a working group}, dissolved since",
			"Call it what you like, as long as you only call *one* thing that. // a librarian in Bre\u0301mont",
		},
		lists: []genList{
			{"What an id should never contain:", []string{
				"An **e-mail address**, however convenient it looks today.",
				"The **year** in two digits; it has been tried.",
				"A **slash**, a colon or anything else with a second job in URLs.",
				"The **name of a machine** that somebody will want to retire.",
				"A **mood**, including that of whoever named it `final2`.",
			}},
			{"Questions to ask before choosing a scheme:", []string{
				"Will anybody read it aloud over a *bad line*?",
				"May a stranger learn how many there are?",
				"Must it sort by time, or would that only be *pleasant*?",
				"Who hands it out when the network is in two halves?",
				"How long is it in a URL, and how long in a sentence?",
			}},
		},
		steps: []genList{
			{"To hand out a number exactly once:", []string{
				"Read the highest number that was *committed*.",
				"- Zero stands before the first.",
				"Add one.",
				"Write it down together with what it names.",
				"- In one commit, or it does not count.",
				"- If the power fails now, nobody has heard it yet.",
				"Only then say it aloud.",
			}},
		},
		tables: []genTable{
			{"The well-known schemes, measured:", "Scheme | Bits | Random bits | Characters | Sorts by time", []string{
				"UUIDv4 | 128 | 122 | 36 | no",
				"UUIDv7 | 128 | 74 | 36 | yes",
				"ULID | 128 | 80 | 26 | yes",
				"KSUID | 160 | 128 | 27 | yes",
				"Snowflake | 64 | 0 | up to 19 | yes",
				"Nano ID | 126 | 126 | 21 | no",
			}},
			{"How likely it is that any two ids are equal:", "Ids | With 64 bits | With 122 bits", []string{
				"1 million | 0.0000027 % | 1 in 10^25",
				"1 billion | 2.7 % | 1 in 10^19",
				"4 billion | 35 % | 1 in 10^18",
				"10 billion | 93 % | 1 in 10^17",
			}},
		},
		code: genIDsCode,
	},
	{
		words:   []string{"tide", "tides", "tidal", "sea", "ocean", "moon", "harbour", "harbor", "coast", "water", "wave", "waves", "beach"},
		subject: "the tide",
		headings: []string{
			"Twice a day, and a little later", "What the moon is owed", "Slack water", "Springs and neaps",
			"How to read a tide table", "The sea keeps its appointments", "Low water, and what it shows",
		},
		facts: []string{
			"Most coasts see two tides in 24 hours and 50 minutes, because the moon moves on while the earth turns.",
			"At **spring tide** sun and moon pull along one line, and harbours remember why their walls are so high.",
			"At **neap tide** sun and moon pull at right angles, and the boats have a quiet week.",
			"The Bay of Fundy moves some 16 metres of water up and down, and is *modest* about it in its brochures.",
			"Slack water lasts {ten|fifteen|twenty} minutes: long enough to row across, too short to discuss it.",
			"A tide table is a forecast that is **almost always right**, which makes it lonely among forecasts.",
			"The rule of twelfths says that half of the water arrives in the two middle hours.",
			"In the Wadden Sea one can walk to an island, provided that one has read `tides.txt` *to the end*.",
			"The moon is about 384,400 kilometres away and still manages to wet one’s shoes.",
			"The tide waits for no one; it does, however, publish its **schedule**.",
			"Wind can add {20..60} centimetres to a tide, and low pressure about one more for every hectopascal.",
			"Venice measures its water from a zero of 1897, since when the city has *settled* and the zero has not.",
			"A gauge in a quiet well draws the same curve every day, only never at the same hour.",
			"Some estuaries turn a tide into a **bore**: a single wave that walks upriver like a late guest.",
			"Low water shows what the sea has been keeping: one boot, {two|three} anchors, somebody’s telephone.",
			"Every harbour has its own delay after the moon, and pilots learn it before they learn the *pub*.",
		},
		quotes: []string{
			"It has never once been early. // a harbour pilot, on the {morning|evening} tide",
			"You may argue with the harbour master. You may not argue with the moon. // a sign in {Husum|Saint-Malo|Whitby}",
			"I came for the beach and stayed because it left. // a visitor to the Wadden Sea",
		},
		lists: []genList{
			{"What moves the water:", []string{
				"The **moon**, which does about two thirds of the work.",
				"The **sun**, which does most of the rest, from rather far away.",
				"The **shape of the coast**, which decides how impressive it looks.",
				"The **wind**, which was not asked.",
				"The **air pressure**, at a centimetre per hectopascal.",
			}},
			{"Worth packing for a walk at low water:", []string{
				"A watch that is *right*, and the habit of looking at it.",
				"Shoes that have already given up.",
				"The table for **this** harbour, not for the pretty one next door.",
				"A thermos, since the way back is always the longer one.",
				"Somebody who has done it before.",
			}},
		},
		steps: []genList{
			{"Reading a tide table without getting wet:", []string{
				"Find the harbour, then the line of today.",
				"- Check the time zone: the sea keeps no summer time.",
				"Note high water and low water.",
				"Divide the six hours between them by the rule of twelfths.",
				"- The first hour brings one twelfth.",
				"- The third and the fourth bring *three* each.",
				"Be back before the third hour.",
			}},
		},
		tables: []genTable{
			{"How far the sea moves, in round figures:", "Harbour | Mean range | Large tides", []string{
				"Burntcoat Head | 11.7 m | 16 m",
				"Avonmouth | 9.5 m | 14 m",
				"Saint-Malo | 8.1 m | 12 m",
				"Cuxhaven | 3.0 m | 3.4 m",
				"Boston | 2.9 m | 3.7 m",
				"Lisbon | 2.2 m | 3.8 m",
				"Venice | 0.5 m | 1.0 m",
			}},
			{"The rule of twelfths, for a range of 4.8 metres:", "Hour | Share | Rise | Level", []string{
				"1 | 1/12 | 0.4 m | 0.4 m",
				"2 | 2/12 | 0.8 m | 1.2 m",
				"3 | 3/12 | 1.2 m | 2.4 m",
				"4 | 3/12 | 1.2 m | 3.6 m",
				"5 | 2/12 | 0.8 m | 4.4 m",
				"6 | 1/12 | 0.4 m | 4.8 m",
			}},
		},
		code: genTidesCode,
	},
	{
		words:   []string{"bridge", "bridges", "engineering", "steel", "arch", "river", "rivers", "construction", "building", "architecture"},
		subject: "a good bridge",
		headings: []string{
			"A road that made up its mind", "Arches, cables and patience", "What the wind wants", "The gap for the summer",
			"On keystones", "How bridges are tested", "Both banks of the argument",
		},
		facts: []string{
			"A bridge is a road that has **made up its mind**.",
			"Every arch wants to lie down flat, and its *abutments* spend their lives talking it out of the idea.",
			"The Golden Gate Bridge is built to swing several metres sideways in a gale, and most coffees on it survive.",
			"Steel grows by twelve millimetres for every kilometre and degree, so each long bridge keeps a **gap** to put its summers in.",
			"The Forth Bridge is no longer painted without end: the coat of 2011 should last twenty-five years, and a proverb is out of work.",
			"Each main cable of the Golden Gate is made of 27,572 wires, and not one of them thinks itself *important*.",
			"A suspension bridge carries its load by hanging it up, a beam bridge by **holding still**.",
			"Soldiers break step on a bridge, because a crowd in rhythm is a load that *adds up*.",
			"London’s Millennium Bridge wobbled for two days in June 2000, and has walked with 89 dampers ever since.",
			"The cheapest span is the one that was left out after a *second look* at the map.",
			"Stone likes to be squeezed, which is why old bridges are arches and old arches are **still there**.",
			"The keystone gets the fame, but an arch stands because of **all** of its stones.",
			"A covered bridge is covered for the sake of its timber, whatever the postcards say.",
			"Engineers test a new bridge with {twelve|sixteen|twenty-four} lorries and an expression of calm.",
			"The deck is what one sees; the *bearings* are what one maintains.",
			"Inspection form `B-{10..48}` has a box for *remarks*, and it is the best literature in the office.",
		},
		quotes: []string{
			"It moves so that it need not fall. // a bridge engineer, to {a class of nine-year-olds|an insurance company}",
			"We meet in the middle. It is a long-standing arrangement. // two crews, {1889|1931|1997}",
			"Nobody thanks a bridge. That is how you know that it works. // {a retired inspector|a toll collector}",
		},
		lists: []genList{
			{"What a bridge has to carry:", []string{
				"**Itself**, which is most of it.",
				"**Traffic**, which is less than people think, except on Fridays.",
				"**Wind**, which comes from the side and has no timetable.",
				"**Temperature**, in the form of summers and winters.",
				"**Time**, mostly as rust.",
			}},
			{"Ways to cross, for every purse:", []string{
				"Stepping stones: no maintenance, *some* humility.",
				"A ford: free of charge until it rains.",
				"A ferry: the view is included.",
				"A rope bridge: so is the wind.",
				"A tunnel: for those who would rather not see the river.",
			}},
		},
		steps: []genList{
			{"Inspecting a small bridge:", []string{
				"Walk across it, slowly.",
				"- Note what rattles.",
				"Walk under it, if the river agrees.",
				"- Look for **rust** where water drips.",
				"- Look for cracks where it does not.",
				"Tap every bolt with a hammer: a tight one says `ting`, a loose one `tock`.",
				"Write it down, with the date.",
			}},
		},
		tables: []genTable{
			{"A few spans, for scale:", "Bridge | Type | Main span | Opened", []string{
				"Brooklyn | suspension | 486 m | 1883",
				"Forth | cantilever | 521 m | 1890",
				"Sydney Harbour | arch | 503 m | 1932",
				"Golden Gate | suspension | 1,280 m | 1937",
				"Humber | suspension | 1,410 m | 1981",
				"Akashi Kaikyō | suspension | 1,991 m | 1998",
				"Øresund | cable-stayed | 490 m | 2000",
				"Çanakkale 1915 | suspension | 2,023 m | 2022",
			}},
			{"What it is made of matters:", "Material | kg per m³ | Tension, MPa | Prefers", []string{
				"Steel | 7,850 | {400..510} | being pulled",
				"Granite | 2,700 | {7..20} | being squeezed",
				"Oak | {670..750} | {80..100} | being dry",
				"Concrete | 2,400 | {2..5} | the company of steel",
			}},
		},
		code: genBridgesCode,
	},
	{
		words:   []string{"tea", "teas", "coffee", "kettle", "cup", "pot", "brew", "brewing", "drink", "breakfast"},
		subject: "a pot of tea",
		headings: []string{
			"Water first", "The case for leaves", "Three minutes, or four", "On milk, carefully",
			"A second infusion", "The kettle sings", "What a teapot is for",
		},
		facts: []string{
			"Green tea wants water of {70|75|80} degrees and **punishes** anything hotter with bitterness.",
			"Black tea is more relaxed: it takes its water boiling and its criticism with *milk*.",
			"The second infusion of an oolong is often the best one, a comfort to everybody who was late for the first.",
			"A teapot keeps {four|five|six} cups warm and one conversation going.",
			"Leaves need room: the small metal ball is to tea what the middle seat is to **travel**.",
			"The *matcha* whisk is cut from a single piece of bamboo, into {80|100|120} fine tines.",
			"Steeping for {three|four} minutes makes tea; steeping for ten makes a *point*.",
			"All true tea comes from one plant, `Camellia sinensis`; the rest is weather, withering and patience.",
			"Hard water leaves a film on the cup, and a chemist at the table will explain it until the tea is cold.",
			"Whether the milk goes in first is a question that has **never** been answered politely.",
			"The tea bag is said to be an accident: customers did not unwrap the sample, and liked it.",
			"In East Frisia three cups are the **law**, and nobody stirs.",
			"A kettle sings shortly before it boils, and falls silent when it *means* it.",
			"White tea is the one that was left *alone*, which is also the best way to drink it.",
			"A good cup of tea solves nothing and improves **everything**.",
			"Darjeeling of the first flush is plucked in March, tasted in April and exaggerated about in May.",
		},
		quotes: []string{
			"There is always time for tea, because nothing starts before it. // a {station master|head gardener}, at {ten|four} o’clock",
			"Weak tea is a form of silence. // {a proverb from East Frisia|somebody’s grandmother}, probably",
			"I take it seriously so that I need not take other things that way. // a tea merchant in {Leer|Kyoto|Leith}",
		},
		lists: []genList{
			{"Things that spoil a pot:", []string{
				"Water that has boiled for a *whole* conversation.",
				"Soap in the teapot, which will remember it for years.",
				"A spice shelf beside the tin: tea is a good listener.",
				"Impatience, in any form.",
				"Light, air and damp, in that order or any other.",
			}},
			{"A small shelf is enough:", []string{
				"**Assam**, for mornings that need persuading.",
				"**Sencha**, for {half past ten|eleven o’clock}.",
				"**Oolong**, for work that cannot be hurried.",
				"**Rooibos**, for evenings, although it is not *strictly* tea.",
				"**Lapsang Souchong**, for people who miss the campfire.",
			}},
		},
		steps: []genList{
			{"A pot, step by step:", []string{
				"Warm the pot.",
				"- Swirl the water round and pour it away.",
				"Measure the leaves.",
				"- One spoon for each cup.",
				"- One for the pot, *if* the pot insists.",
				"Pour, cover and wait {three|four} minutes.",
				"Pour it all out: what stays on the leaves turns bitter.",
			}},
		},
		tables: []genTable{
			{"A table to pin above the kettle:", "Tea | Water | Minutes | Infusions", []string{
				"Gyokuro | {50..60} °C | 2 | 3",
				"Sencha | {70..75} °C | {1..2} | 3",
				"White | {75..80} °C | {4..5} | 2",
				"Oolong | {85..95} °C | 3 | {4..6}",
				"Darjeeling | {90..95} °C | 3 | 1",
				"Assam | 100 °C | {3..5} | 1",
				"Rooibos | 100 °C | {6..8} | 1",
			}},
			{"An ordinary day in the canteen:", "Hour | Cups poured | Cups finished | Mood", []string{
				"08:00 | {12..14} | {9..11} | urgent",
				"10:30 | {7..9} | {5..6} | sociable",
				"13:00 | {5..6} | {3..4} | thoughtful",
				"16:00 | {13..15} | {10..12} | ceremonial",
				"21:30 | {2..3} | 2 | herbal",
			}},
		},
		code: genTeaCode,
	},
	{
		words:   []string{"garden", "gardens", "gardening", "plant", "plants", "tree", "trees", "flower", "flowers", "vegetable", "vegetables", "weather", "soil", "compost"},
		subject: "a small garden",
		headings: []string{
			"A conversation with the weather", "In praise of compost", "Neighbours in a bed", "What the notebook says",
			"Water, but seldom", "Slugs, a dialogue", "The long view",
		},
		facts: []string{
			"A garden is a conversation with the weather in which the weather has the **last word**.",
			"Plant the tree where shade will be wanted in {ten|fifteen|twenty} years, then find something to do in the meantime.",
			"Compost is the only department in which everything that goes wrong comes out *right*.",
			"Slugs attend every opening night.",
			"Water deeply and in the morning; a little every evening only teaches the roots to be **shallow**.",
			"Beans make their own nitrogen fertiliser and are not in the least smug about it.",
			"A weed is a plant with an excellent strategy and no publisher.",
			"Tomatoes want sun, string and *conversation*; two of these are proven.",
			"The best fertiliser is the gardener’s shadow, says a proverb that is older than chemistry.",
			"Prune in winter, with a sharp blade and a **warm coat**.",
			"Seeds are sown {one|two} centimetres deep and hoped for from then on.",
			"Peas may go out while frost is still possible; basil wants it *in writing* that there will be none.",
			"An apple tree from a pip is always a surprise, which is why orchards are grafted, that is to say, **copied**.",
			"One hedgehog does the work of {three|four} good intentions.",
			"The lawn is the only plant that is punished for doing well.",
			"Rhubarb asks for nothing but distance.",
			"Keep a notebook, or a file `beds.txt`: next spring you will remember the plan, but not where the tulips are.",
		},
		quotes: []string{
			"I do not grow them. I am merely present. // a gardener, of her {roses|leeks|sweet peas}",
			"Next year. // every gardener, every year",
			"You can hurry a train. Try hurrying an asparagus. // {a signalman|a station master} with an allotment",
		},
		lists: []genList{
			{"Good neighbours in a bed:", []string{
				"**Carrots and onions**, each of which puts off the fly of the other.",
				"**Maize and beans**: one climbs, the other is flattered.",
				"**Tomatoes and basil**, on the plate as well.",
				"**Roses and garlic**, an old and fragrant misunderstanding.",
				"**Lettuce and radishes**, gone before they can quarrel.",
			}},
			{"Tools that earn their hook:", []string{
				"A spade with a handle that fits *you*.",
				"Secateurs, sharp, and the tin with the plasters.",
				"A watering can with a fine rose.",
				"String, of which there is never a second roll.",
				"A chair, because looking is half of the work.",
			}},
		},
		steps: []genList{
			{"Raising tomatoes from seed:", []string{
				"Sow them indoors in March.",
				"- Barely cover the seed.",
				"- Keep it at {20..24} °C, on a bright windowsill.",
				"Pot them up at the first *true* leaves.",
				"Harden them off in May.",
				"- One hour outside, then two, then a night.",
				"Plant out after the last frost, deeper than seems polite.",
			}},
		},
		tables: []genTable{
			{"What to sow, and how long to hope:", "Crop | Sow | Up after | Spacing", []string{
				"Broad bean | February to April | {10..16} days | 20 cm",
				"Pea | March to May | {8..12} days | 8 cm",
				"Carrot | March to July | {12..18} days | 5 cm",
				"Lettuce | March to August | {6..10} days | 25 cm",
				"Radish | March to September | {4..7} days | 3 cm",
				"Beetroot | April to July | {8..14} days | 10 cm",
			}},
			{"The weather, as the notebook has it:", "Month | Rain | Sun | Mean", []string{
				"March | {42..58} mm | {110..140} h | {4..6} °C",
				"April | {38..52} mm | {165..195} h | {8..10} °C",
				"May | {55..70} mm | {205..235} h | {13..14} °C",
				"June | {60..78} mm | {210..240} h | {16..18} °C",
				"July | {72..90} mm | {215..245} h | {18..20} °C",
			}},
		},
		code: genGardensCode,
	},
}
