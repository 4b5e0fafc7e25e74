/** Answers of the foreign upstream. */

const paragraph = (n) =>
  `${n}. On night ${n} the fog came in from the west and hid the bay; the lamp went out, the book stayed open, ` +
  `and the count went on with the next ship.  Two spaces, a tab:\t, & <b>no markup</b>.\n`;

/** About 4 kB. */
export const long = `# The lighthouse\n\n${Array.from({ length: 24 }, (_, i) => paragraph(i + 1)).join('\n')}`;

/** Every second chunk of it is half of a surrogate pair. */
export const unicode =
  'naïve café 日本語 👩‍👩‍👧 🇩🇪🇫🇷 e\u0301 👍🏽 ' +
  Array.from({ length: 12 }, (_, i) => `${i}: 👨‍👩‍👧‍👦 العربية हिन्दी 𝒳𐍈 🏳️‍🌈\r\n`).join('') +
  'end\n';

/** For the pictures: no character that a bare machine has no font for. */
export const story = `Every evening the keeper climbs a hundred and ninety-nine steps, opens the book and writes one number for each ship that passes. The rule is older than the lamp: the next ship gets the next number, and no number is ever given twice.

One night in March the fog came in from the west. The bay went first, then the pier, then the steps themselves. Somewhere below a bell rang and stopped. The keeper laid the pen down beside the last number and waited.

When the fog lifted, nobody asked how many ships had been lost in it. The book lay open where it had been left. The pen moved one line down, the keeper wrote the next number, and the count went on.

Visitors ask what happens when the keeper sleeps. Nothing happens: the ships go by, the harbour master keeps their papers, and in the morning each of them is entered under its own number, in the order in which it came.
`;

export const fixtures = [
  { match: { userMessage: 'lighthouse keeper' }, response: { content: story }, chunkSize: 5, streamingProfile: { ttft: 100, tps: 60, jitter: 0.3 } },
  { match: { userMessage: 'long answer' }, response: { content: long }, chunkSize: 6, streamingProfile: { ttft: 50, tps: 150, jitter: 0.2 } },
  { match: { userMessage: 'unicode' }, response: { content: unicode }, chunkSize: 1, streamingProfile: { ttft: 50, tps: 150, jitter: 0.2 } },
  {
    match: { userMessage: 'break off' },
    response: { content: long },
    chunkSize: 6,
    truncateAfterChunks: 40,
    streamingProfile: { ttft: 50, tps: 150, jitter: 0 },
  },
];
