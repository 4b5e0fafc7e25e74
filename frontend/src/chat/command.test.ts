import { expect, test } from 'vitest';
import { ProblemError } from '../client/index.ts';
import { Commands, type Command } from './command.ts';
import { inVirtualTime, tick } from './harness.ts';

inVirtualTime();

const away = (): Promise<void> => Promise.reject(new TypeError('connection refused'));
const command = (call: () => Promise<void>): Command & { calls: number; told: string[]; moot: boolean } => {
  const it = {
    name: 'Resume',
    to: 's1',
    calls: 0,
    told: [] as string[],
    moot: false,
    call: () => (it.calls++, call()),
    isMoot: () => it.moot,
    tell: (title: string) => void it.told.push(title),
  };
  return it;
};

test('of a name and a session one is under way', async () => {
  let back = false;
  const commands = new Commands();
  const it = command(() => (back ? Promise.resolve() : away()));
  const given = Array.from({ length: 10 }, () => commands.give(it));
  await tick(100);
  expect(it.calls).toBe(1);
  const other = command(away);
  void commands.give({ ...other, to: 's2' });
  await tick();
  expect(other.calls).toBe(1);
  other.moot = back = true;
  await tick(1000);
  expect(await Promise.all(given)).toEqual(Array.from({ length: 10 }, () => true));
  expect(it.calls).toBe(2);
  expect(await commands.give(it)).toBe(true);
  expect(it.calls).toBe(3);
});

test('the tries become rarer, to one in 10 s', async () => {
  const it = command(away);
  void new Commands().give(it);
  await tick(600_000);
  expect(it.calls).toBeGreaterThan(55);
  expect(it.calls).toBeLessThan(70);
  it.moot = true;
});

test('it ends when it is moot, and says no more', async () => {
  const it = command(away);
  const given = new Commands().give(it);
  await tick(100);
  it.moot = true;
  await tick(60_000);
  expect(await given).toBe(false);
  expect(it).toMatchObject({ calls: 1, told: ['Resume has not got through yet'] });
});

test('it ends when it is refused', async () => {
  const it = command(() => Promise.reject(new ProblemError(410)));
  expect(await new Commands().give(it)).toBe(false);
  expect(it).toMatchObject({ calls: 1, told: ['Resume did not get through'] });
});
