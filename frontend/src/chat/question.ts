/** What is asked, and the session that it is asked for with. */

import type { CreateRequest, Session } from '../client/index.ts';

/** The built-in generator among the models. */
export const DEMO = 'demo';

/** What the server takes as a metadata value, in bytes of UTF-8. */
const MAX_METADATA = 512;

export interface Question {
  readonly prompt: string;
  readonly model: string;
  readonly unit: NonNullable<CreateRequest['unit']>;
  /** Events a second: of the demo generator as it writes, of this reader otherwise. 0, as they come. */
  readonly speed: number;
}

export function request(question: Question): CreateRequest {
  const common = { unit: question.unit, metadata: { prompt: shorten(question.prompt, MAX_METADATA) } };
  if (question.model === DEMO) {
    return { source: { type: 'generate', prompt: question.prompt }, ...common, ...(question.speed > 0 ? { rate: question.speed } : {}) };
  }
  return { source: { type: 'upstream', model: question.model, messages: [{ role: 'user', content: question.prompt }] }, ...common };
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
