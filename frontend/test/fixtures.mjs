/** Texts that are read, and answers of the foreign upstream. */

const paragraph = (n) =>
  `${n}. On night ${n} the fog came in from the west and hid the bay; the lamp went out, the book stayed open, ` +
  `and the count went on with the next ship.  Two spaces, a tab:\t, & <b>no script</b>.\n`;

/** About 4 kB. */
export const long = `# The lighthouse\n\n${Array.from({ length: 24 }, (_, i) => paragraph(i + 1)).join('\n')}`;

/** Every second chunk of it is half of a surrogate pair. */
export const unicode =
  'naïve café 日本語 👩‍👩‍👧 🇩🇪🇫🇷 e\u0301 👍🏽 ' +
  Array.from({ length: 12 }, (_, i) => `${i}: 👨‍👩‍👧‍👦 العربية हिन्दी 𝒳𐍈 🏳️‍🌈\r\n`).join('') +
  'end\n';

/**
 * All that Markdown draws, with what changes its meaning late: a head of a table,
 * a line of dashes below a paragraph, a fence that closes, definitions at the end.
 */
export const markdown = `# The book of ships

Every evening the keeper climbs **a hundred and ninety-nine** steps, opens the book and writes *one number* for each ship that passes. The rule is in [the manual][rules], and older than the lamp.

How it is kept
--------------

1. The next ship gets the next number.
2. No number is given twice:
   - not to a ship that comes back,
   - not to one that was *lost* ~~or forgotten~~.
3. What was written stays written.

| ship | number | seen at | weather |
| :--- | ---: | :---: | --- |
| Aurora | 41 | 21:04 | clear, \`NW 3\` |
| Bonheur | 42 | 22:17 | fog |
| **Clio** | 43 | 23:59 | a | b |

\`\`\`go
// After returns the ships past a number.
func (b *Book) After(n Number) []Ship {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ships[n:]
}
\`\`\`

> One night in March the fog came in from the west.
> > Somewhere below a bell rang and stopped.

- [x] the lamp is lit
- [ ] the book is closed

\`\`\`js
const next = (book) => book.at(-1).number + 1; // 0 < 1 && "quoted"
for (const ship of seen) book.push({ ship, number: next(book) });
\`\`\`

Two signs that stay as they are: 2 * 3 * 4 and snake_case_name. A line that breaks  
here, a <kbd>key</kbd>, an &amp; entity, a picture ![of the bay](https://example.org/bay.png), an address <https://example.org/a_b>, and 👩‍👩‍👧 of e\u0301migrants.

~~~text
no language that anybody colours
    with its indent kept
~~~

When the fog lifted, nobody asked how many ships had been lost in it. The pen moved one line down, and [the count][rules] went on.

***

[rules]: https://example.org/rules "The keeper's rules"
`;

/** The same without definitions, which come late and change lines that stand above. */
export const settled = markdown.replace(/\n\[rules\]: .*\n/, '').replaceAll('[rules]', '(https://example.org/rules)');

/** For the pictures: no character that a bare machine has no font for. */
export const story = `Every evening the keeper climbs a hundred and ninety-nine steps, opens the book and writes one number for each ship that passes. The rule is older than the lamp: the next ship gets the next number, and no number is ever given twice.

One night in March the fog came in from the west. The bay went first, then the pier, then the steps themselves. Somewhere below a bell rang and stopped. The keeper laid the pen down beside the last number and waited.

When the fog lifted, nobody asked how many ships had been lost in it. The book lay open where it had been left. The pen moved one line down, the keeper wrote the next number, and the count went on.

Visitors ask what happens when the keeper sleeps. Nothing happens: the ships go by, the harbour master keeps their papers, and in the morning each of them is entered under its own number, in the order in which it came.
`;

export const book = `The book has a line for each ship:

| Number | Ship | Seen at | Weather |
| ---: | --- | :---: | --- |
| 118 | Aurora | 21:04 | clear |
| 119 | Bonheur | 22:17 | **fog** |
| 120 | Clio | 23:59 | fog |

The next number is one more than the last that was *written*, whatever has been seen since:

\`\`\`go
// Next returns the number of the next ship. No number is given twice.
func (b *Book) Next() Number {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	return b.last
}
\`\`\`

So nothing is lost in the fog: the count goes on at 121.
`;

/** The rest of the answer that was begun, as a model gives it that does as it is told. */
function rest({ messages }) {
  const begun = messages.findLast((message) => message.role === 'assistant').content;
  const whole = [long, markdown].find((text) => text.startsWith(begun));
  return { content: whole === undefined ? ' and so it went on.' : whole.slice(begun.length) };
}

/** What was asked, in order: how a model shows that it was given the whole conversation. */
function asked({ messages }) {
  return { content: messages.map(({ role, content }, i) => `${i + 1}. ${role}: ${content.length} characters, *${content.slice(0, 12).trim()}*\n`).join('') };
}

const fast = { ttft: 50, tps: 250, jitter: 0.2 };

export const fixtures = [
  { match: { userMessage: 'Your answer broke off' }, response: rest, chunkSize: 8, streamingProfile: fast },
  { match: { userMessage: 'next number is found' }, response: { content: book }, chunkSize: 5, streamingProfile: fast },
  { match: { userMessage: 'lighthouse keeper' }, response: { content: story }, chunkSize: 5, streamingProfile: { ttft: 100, tps: 60, jitter: 0.3 } },
  { match: { userMessage: 'long answer' }, response: { content: long }, chunkSize: 6, streamingProfile: fast },
  { match: { userMessage: 'unicode' }, response: { content: unicode }, chunkSize: 1, streamingProfile: { ttft: 50, tps: 150, jitter: 0.2 } },
  { match: { userMessage: 'who asks' }, response: asked, chunkSize: 12, streamingProfile: fast },
  {
    match: { userMessage: 'break off' },
    response: { content: long },
    chunkSize: 6,
    truncateAfterChunks: 40,
    streamingProfile: { ttft: 50, tps: 250, jitter: 0 },
  },
];
