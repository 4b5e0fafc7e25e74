import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { curl, openai } from './handover.ts';

/** The words that a shell takes a command for, the program's name first. A line's `#` is one, as an interactive zsh has it. */
function words(command: string): string[] {
  const shown = command.replaceAll(/^(curl|node|#) /gm, 'show "$1" ');
  const out = execFileSync('sh', ['-c', `show() { printf '%s\\0' "$@"; }\n${shown}`], { encoding: 'utf8' });
  return out.split('\0').slice(0, -1);
}

describe('curl', () => {
  test('goes on from an event, or reads the whole text', () => {
    expect(curl('http://host', 's1', 57)).toBe("curl -N -H 'Last-Event-ID: 57' http://host/v1/sessions/s1/events");
    expect(curl('http://host', 's1', 0)).toBe('curl -N http://host/v1/sessions/s1/events');
    expect(curl('http://host', 's1', undefined)).toBe('curl http://host/v1/sessions/s1/text');
  });

  // What a page's own address cannot have is tried too: nothing that comes may run.
  for (const [origin, id] of [
    ['http://127.0.0.1:8080', 'wrmawemesjucd2nzdsmzttb55y'],
    ['http://[::1]:8080', 's1'],
    ["http://h'; touch /tmp/x; '", "a'b(c)!$(id)*"],
    ['http://h`id`$HOME\\ "', 'é 日\n'],
  ] as const) {
    test(`of ${JSON.stringify(origin)} is one command of a shell`, () => {
      const at = `${origin}/v1/sessions/${encodeURIComponent(id)}`;
      expect(words(curl(origin, id, 7))).toEqual(['curl', '-N', '-H', 'Last-Event-ID: 7', `${at}/events`]);
      expect(words(curl(origin, id, undefined))).toEqual(['curl', `${at}/text`]);
    });
  }
});

describe('openai', () => {
  test('is a program in one command', () => {
    expect(openai('http://host', { responses: { id: 'resp_s1', starting_after: 61 } })).toBe(`node --input-type=module -e '
import OpenAI from "openai"; // npm install openai
const client = new OpenAI({ baseURL: "http://host/v1", apiKey: "none" });
for await (const event of await client.responses.retrieve("resp_s1", { stream: true, starting_after: 61 })) {
  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
  if (event.type === "response.failed") throw new Error(event.response.error.message);
}'`);
  });

  test('asks for all where nothing has been read', () => {
    expect(openai('http://host', { responses: { id: 'resp_s1' } })).toContain('retrieve("resp_s1", { stream: true })');
    expect(openai('http://host', { responses: { id: 'resp_s1', starting_after: 0 } })).toContain('starting_after: 0 }');
  });

  test('is none of a session that is not shown so', () => {
    expect(() => openai('http://host', {})).toThrow();
  });

  test('is one command of a shell, whatever stands in it', () => {
    const origin = `http://h'"; \`id\` $(id) \\ !`;
    const got = words(openai(origin, { responses: { id: "resp_'", starting_after: 1 } }));
    expect(got.slice(0, 3)).toEqual(['node', '--input-type=module', '-e']);
    expect(got).toHaveLength(4);
    expect(got[3]).toContain(`baseURL: ${JSON.stringify(`${origin}/v1`)},`);
    expect(got[3]).toContain(`retrieve("resp_'", `);
  });
});
