/** A server of whole conversations, for their tests. */

import type { MessageGiven, SourceGiven } from '../client/index.ts';
import { wireDone, wireRange, type Line } from '../client/testing.ts';
import { harness, problem, type Harness } from './harness.ts';

/** A session as the server has it. */
export interface Stored {
  readonly state?: string;
  readonly source?: SourceGiven;
  readonly text?: string;
  readonly previous?: string;
  readonly prompt?: string;
  /** An answer in the place of its state. */
  readonly instead?: () => Response | Promise<Response>;
}

export const generate = (prompt: string): SourceGiven => ({ type: 'generate', prompt, seed: 7 });
export const upstream = (...messages: MessageGiven[]): SourceGiven => ({ type: 'upstream', model: 'p/m', messages, parameters: { temperature: 0.5 } });
export const said = (role: string, content: string): MessageGiven => ({ role, content });

export function stateOf(id: string, { state = 'done', source = generate(id), text = '', previous, prompt = `short ${id}` }: Stored): Response {
  const metadata = { prompt, ...(previous === undefined ? {} : { previous }) };
  const model = source.type === 'upstream' ? { model: source.model } : {};
  return new Response(JSON.stringify({ id, state, source: { type: source.type, ...model }, unit: 'word', last_event_id: text.length + 2, metadata, timings: { ended: 'x' } }));
}

/** A server of sessions by their ids; those that are made are n1, n2, … and the events of all come from lines. */
export function world(sessions: Record<string, Stored>, ...lines: ((line: Line) => Response | void)[]): Harness {
  let made = 0;
  const h: Harness = harness(lines.length > 0 ? lines : [(l) => l.write(wireRange(1, 9) + wireDone(10))], {}, undefined, (url, init) => {
    const [, id = '', what] = /^\/v1\/sessions(?:\/([^/]+)(?:\/(.+))?)?$/.exec(url) ?? [];
    if (init.method === 'POST' && (id === '' || what === 'continue')) {
      const name = `n${++made}`;
      const body = init.body === undefined ? sessions[id]! : JSON.parse(init.body as string);
      const { prompt, previous } = body.metadata ?? sessions[id] ?? {};
      sessions[name] = { state: 'running', source: body.source, prompt, previous };
      return stateOf(name, sessions[name]!);
    }
    const session = sessions[id];
    if (session === undefined) return id === '' ? undefined : problem(404, 'session_not_found', 'no such session');
    if (what === 'source') return new Response(JSON.stringify(session.source ?? generate(id)));
    if (what === 'text') return new Response(session.text ?? '');
    return what === undefined ? (session.instead?.() ?? stateOf(id, session)) : undefined;
  });
  return h;
}

export const open = (h: Harness, id: string, at = 10): void => void h.talk.open({ id, at, paused: false, pace: 0 });
export const creates = (h: Harness): Record<string, unknown>[] => h.calls.filter((call) => call.method === 'POST' && call.url === '/v1/sessions').map((call) => call.body!);
