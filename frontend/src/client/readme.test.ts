/** The page's sample of the README, run as it stands. */

import { readFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { Client } from './client.ts';
import type { StreamEvent } from './event.ts';
import type { Follow } from './follow.ts';
import { range, serve, tick } from './follow.harness.ts';
import { script, wireRange } from './testing.ts';

test('the sample for a page: whichever way its slider is moved, nothing is left out', async () => {
  const code = [...readFileSync(new URL('README.md', import.meta.url), 'utf8').matchAll(/```ts\n([^]*?)```/g)].map((match) => match[1]!).find((block) => block.includes('slider'))!;
  vi.useFakeTimers();
  try {
    const { request, lines } = script((line) => line.write(wireRange(58, 62)), serve(70));
    let screen = range(1, 57);
    const finish = vi.fn();
    const slider: { valueAsNumber: number; oninput?: () => void } = { valueAsNumber: 57 };
    const button: { onclick?: () => void } = {};
    const given = {
      Client: class extends Client {
        constructor() {
          super({ fetch: request as typeof fetch });
        }
      },
      id: 's1',
      draw: (event: StreamEvent) => screen.push(event.id),
      show: () => {},
      finish,
      button,
      slider,
      eraseAfter: (id: number) => (screen = screen.filter((drawn) => drawn <= id)),
    };
    const follow = new Function(...Object.keys(given), `${code}; return follow;`)(...Object.values(given)) as Follow;
    const move = (to: number): void => {
      slider.valueAsNumber = to;
      slider.oninput!();
    };
    await tick();
    expect(screen).toEqual(range(1, 62));

    button.onclick!();
    expect(follow.paused).toBe(true);
    for (const to of [66, 60, 65, 59, 60]) {
      move(to);
      expect(screen).toEqual(range(1, follow.cursor));
    }
    expect(follow.cursor).toBe(59);
    button.onclick!();
    await tick();
    expect(lines.map((line) => line.after)).toEqual([57, 59]);
    expect(screen).toEqual(range(1, 70));
    expect(finish).toHaveBeenCalledOnce();

    move(68); // after the end
    await tick();
    expect(screen).toEqual(range(1, 70));
    expect(finish).toHaveBeenCalledTimes(2);
  } finally {
    vi.useRealTimers();
  }
});
