/** What is asked, and the session that it is asked for with. */

import type { CreateRequest, MessageGiven, Session, SourceGiven } from '../client/index.ts';

/** The built-in generator among the models. */
export const DEMO = 'demo';

/** Events a second that the demo generator writes; a reader's speed is another thing. */
export const DEMO_RATE = 160;

/** How many words it writes: enough to try things on. */
const DEMO_LENGTH = 1600;

/** How fast a reader reads: events a second, 0 as they come, or one event at each press. */
export type Speed = number | 'step';

/** The speeds that the page offers. */
export const SPEEDS: readonly { readonly value: Speed; readonly label: string }[] = [
  { value: 30, label: '1×' },
  { value: 120, label: '4×' },
  { value: 0, label: 'max' },
  { value: 'step', label: 'step' },
];

/** What the server takes as a metadata value, in bytes of UTF-8. */
const MAX_METADATA = 512;

export interface Question {
  readonly prompt: string;
  readonly model: string;
  readonly unit: NonNullable<CreateRequest['unit']>;
  readonly speed: Speed;
}

/**
 * The request for a question's session. History is what was said before it, for a model that is asked with it; previous
 * is the session of the turn before, '' if there is none.
 */
export function request(question: Question, history: readonly MessageGiven[] = [], previous = ''): CreateRequest & { readonly source: SourceGiven } {
  const { prompt, model, unit } = question;
  const metadata = { prompt: shorten(prompt, MAX_METADATA), ...(previous === '' ? {} : { previous }) };
  if (model === DEMO) return { source: { type: 'generate', prompt, length: DEMO_LENGTH }, unit, rate: DEMO_RATE, metadata };
  return { source: { type: 'upstream', model, messages: [...history, { role: 'user', content: prompt }] }, unit, metadata };
}

/** The request for another answer to what a session was given: all is the same but the seed, which would give the same text. */
export function repeat(source: SourceGiven, session: Session): CreateRequest {
  const { unit, encoding, encoding_source, rate, metadata } = session;
  return {
    source: source.type === 'generate' ? unseeded(source) : source,
    unit,
    ...(encoding !== undefined && encoding_source === 'request' ? { encoding } : {}),
    ...(typeof rate === 'number' && rate > 0 ? { rate } : {}),
    ...(metadata === undefined ? {} : { metadata }),
  };
}

function unseeded({ type, prompt, length }: Extract<SourceGiven, { type: 'generate' }>): SourceGiven {
  return { type, prompt, ...(length === undefined ? {} : { length }) };
}

/** The model whose answer a session is, as it is listed; '' of a text that is given or pushed. */
export function modelOf({ source }: Session): string {
  return source.type === 'generate' ? DEMO : (source.model ?? '');
}

/** The beginning of the text that fits into so many bytes of UTF-8. */
export function shorten(text: string, bytes: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytes));
  return text.slice(0, read);
}
