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

export const fixtures = [
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
