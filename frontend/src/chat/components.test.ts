import { render } from 'svelte/server';
import { describe, expect, test } from 'vitest';
import Composer from './Composer.svelte';
import Handover from './Handover.svelte';

describe('Handover', () => {
  for (const [ended, want] of [
    [false, 'Go on from here with curl'],
    [true, 'Read the whole text with curl'],
  ] as const) {
    test(want, () => {
      const { body } = render(Handover, { props: { id: 's1', cursor: 57, ended, origin: 'http://host', onopen: () => {} } });
      expect(body).toContain(`<summary>${want}</summary>`);
    });
  }
});

describe('Composer', () => {
  const composer = (reads: boolean): string =>
    render(Composer, { props: { models: ['aimock/gpt-4o', 'demo'], prompt: '', pace: 10, reads, onsend: () => {}, onspeed: () => {} } }).body;

  test('the model that costs nothing is selected', () => {
    expect(/<option[^>]* value="([^"]*)"[^>]* selected/.exec(composer(false))?.[1]).toBe('demo');
  });

  test('speed is that of the session on the page, if it can be read at one', () => {
    expect(composer(false)).toMatch(/>Speed</);
    expect(composer(true)).toMatch(/>Reading speed</);
  });
});
