import { render } from 'svelte/server';
import { describe, expect, test } from 'vitest';
import Byline from './Byline.svelte';
import Composer from './Composer.svelte';
import type { Cut } from './cut.ts';
import Panel from './Panel.svelte';
import type { Speed } from './question.ts';
import Scrubber from './Scrubber.svelte';
import Strip from './Strip.svelte';

/** What is read of a page, in one line. */
function words(body: string): string {
  return body.replace(/<[^>]*>/g, '').replace(/\s+/g, ' ').trim();
}

describe('Strip', () => {
  const strip = (cut: Cut, wait = 0): string => words(render(Strip, { props: { cut, wait } }).body);

  test('a line that is back', () => {
    const back = { at: 119, seconds: 1.23, missing: 0, repeated: 0 };
    expect(strip({ at: 118, open: true, back })).toBe('cut at 118 · 1.2 s · back at 119 · 0 lost · 0 repeated');
  });

  test.each([
    ['at once', false, 0, 'cut at 118 · trying …'],
    ['soon', false, 1, 'cut at 118 · trying …'],
    ['later', false, 4, 'cut at 118 · next try in 4 s'],
    ['nothing new', true, 0, 'cut at 118 · connected again, nothing new yet'],
  ])('a line that is not, %s', (_, open, wait, want) => {
    expect(strip({ at: 118, open, back: undefined }, wait)).toBe(want);
  });

  test('what is lost or repeated is not shown as good', () => {
    const back = { at: 121, seconds: 1, missing: 2, repeated: 0 };
    const { body } = render(Strip, { props: { cut: { at: 118, open: true, back }, wait: 0 } });
    expect(body).toMatch(/class="bad[^"]*">2 lost/);
    expect(body).toMatch(/class="good[^"]*">0 repeated/);
  });
});

describe('Scrubber', () => {
  const scrubber = (at: number, head: number): string => render(Scrubber, { props: { at, head, breaks: [], onseek: () => {} } }).body;

  test('tells the event and the last one', () => {
    expect(scrubber(57, 213)).toContain('aria-valuetext="event 57 of 213"');
    expect(scrubber(57, 213)).toContain('max="213"');
  });

  test('is never before its own value', () => {
    expect(scrubber(57, 0)).toContain('aria-valuetext="event 57 of 57"');
  });
});

describe('Composer', () => {
  const composer = (speed: Speed): string =>
    render(Composer, { props: { models: ['aimock/gpt-4o', 'demo'], prompt: '', speed, onsend: () => true, onspeed: () => {} } }).body;
  const selected = (body: string): string[] => [...body.matchAll(/<option[^>]* value="([^"]*)"[^>]* selected/g)].map((match) => match[1]!);

  test('the model that costs nothing is selected', () => {
    expect(selected(composer(0))).toContain('demo');
  });

  test.each([
    [30, '30'],
    [0, '0'],
    ['step', 'step'],
  ] as const)('the speed %s is selected', (speed, want) => {
    expect(selected(composer(speed)).at(-1)).toBe(want);
  });

  test('a speed of an address is offered beside the others', () => {
    expect(words(composer(10))).toContain('10 / s1×4×maxstep');
    expect(words(composer(120))).not.toContain('120 / s');
  });
});

describe('Panel', () => {
  const buttons = (action: string): number => render(Panel, { props: { id: 'ended', title: 'Failed', detail: '', action, onaction: () => {} } }).body.match(/<button/g)?.length ?? 0;

  test('has one button, or none', () => {
    expect(buttons('Try again')).toBe(1);
    expect(buttons('')).toBe(0);
  });
});

describe('Byline', () => {
  const byline = (model: string): string => render(Byline, { props: { model } }).body;

  test('names the model, and is a heading without one', () => {
    expect(words(byline('demo'))).toBe('Answer of demo');
    expect(words(byline(''))).toBe('Answer');
  });
});
