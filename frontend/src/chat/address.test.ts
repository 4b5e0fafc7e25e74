import { expect, test } from 'vitest';
import { formatPlace, parsePlace, type Place } from './address.ts';

const cases: { url: string; want: Place | undefined }[] = [
  { url: '/', want: undefined },
  { url: '/s/', want: undefined },
  { url: '/s/a/b', want: undefined },
  { url: '/s/%', want: undefined },
  { url: '/s/abc', want: { id: 'abc', at: undefined, paused: false, pace: 0 } },
  { url: '/s/abc?at=0', want: { id: 'abc', at: 0, paused: false, pace: 0 } },
  { url: '/s/abc?at=57', want: { id: 'abc', at: 57, paused: false, pace: 0 } },
  { url: '/s/abc?at=57&paused=1', want: { id: 'abc', at: 57, paused: true, pace: 0 } },
  { url: '/s/a%2Fb?at=5&pace=20', want: { id: 'a/b', at: 5, paused: false, pace: 20 } },
];

for (const { url, want } of cases) {
  test(url, () => {
    const { pathname, search } = new URL(url, 'http://relay.test');
    expect(parsePlace(pathname, search)).toEqual(want);
    if (want !== undefined) expect(formatPlace(want)).toBe(url);
  });
}

for (const at of ['-1', '1.5', 'x', '', '99999999999999999999']) {
  test(`at=${at} is no place`, () => expect(parsePlace('/s/abc', `?at=${at}`)).toMatchObject({ id: 'abc', at: undefined }));
}
