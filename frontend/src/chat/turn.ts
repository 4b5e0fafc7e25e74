/** The turns of a conversation that came before the one that is read. */

import { persist, ProblemError, type Client, type MessageGiven, type Outcome, type PersistOptions, type Session, type SourceGiven } from '../client/index.ts';
import { isOver } from './phase.ts';
import { modelOf } from './question.ts';
import { headline } from './trouble.ts';

/** How many turns before the present one are read. */
export const MAX_TURNS = 50;

export interface Turn {
  /** The session, '' if the turn is known by its messages alone. */
  readonly id: string;
  readonly prompt: string;
  /** Whether the prompt may be no more than its beginning: what it was given with is not known. */
  readonly short?: boolean;
  /** The model whose answer it is; '' if it is none's, or not known. */
  readonly model: string;
  /** The answer, as far as this page has it. */
  readonly text: string;
  /**
   * How its session ended; "left" if not all of it was drawn on this page when it was left; "running" if it had not ended when the server gave it; "gone" if there is
   * no session any more, or the server did not give it; "given" if it is messages that a question came with.
   */
  readonly outcome: Outcome | 'left' | 'running' | 'gone' | 'given';
  /** The last event of it that this page has, 0 if it has none. */
  readonly events: number;
  /** Of a turn that is gone: why, in a few words. */
  readonly why: string;
  /** The messages that a model was asked with, its prompt the last; undefined if it was not, or that is not known. */
  readonly asked: readonly MessageGiven[] | undefined;
}

/** What a session says of the turn before it: its session, or '' if there is none. */
export function previousOf(session: Session): string {
  return session.metadata?.['previous'] ?? '';
}

/** The question that a source was given, undefined if it is none. */
export function promptOf(source: SourceGiven): string | undefined {
  if (source.type === 'generate') return source.prompt;
  if (source.type !== 'upstream') return undefined;
  const last = source.messages.at(-1);
  return last?.role === 'user' ? plain(last.content) : undefined;
}

/** The messages that a model was asked with, unless they have the form of another protocol. */
export function askedOf(source: SourceGiven | undefined): readonly MessageGiven[] | undefined {
  return source?.type === 'upstream' && (source.dialect ?? 'chat') === 'chat' ? source.messages : undefined;
}

/** Messages as turns: each user's message begins one, what the assistant said after it is its text. */
function turnsOf(messages: readonly MessageGiven[], model: string): Turn[] {
  const turns: Turn[] = [];
  for (const { role, content } of messages) {
    const said = plain(content);
    const last = turns.at(-1);
    if (role === 'user') turns.push({ id: '', prompt: said, model, text: '', outcome: 'given', events: 0, why: '', asked: undefined });
    else if (role === 'assistant' && last !== undefined) turns[turns.length - 1] = { ...last, text: last.text + said };
  }
  return turns;
}

/** The turns in the messages before an upstream's last. */
export function before(source: SourceGiven | undefined, model: string): Turn[] {
  return source?.type === 'upstream' ? turnsOf(source.messages.slice(0, -1), model) : [];
}

/** Turns as messages, for a model that is asked what comes next. */
export function messagesOf(turns: readonly Turn[]): MessageGiven[] {
  let messages: MessageGiven[] = [];
  for (const { prompt, text, asked } of turns) {
    if (asked !== undefined) messages = [...asked]; // all that was said before is in it
    else if (prompt !== '') messages.push({ role: 'user', content: prompt });
    if (text !== '') messages.push({ role: 'assistant', content: text });
  }
  return messages;
}

/** The text of a message's content, which may have parts of other kinds. */
function plain(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((part: unknown) => (typeof part === 'object' && part !== null && 'text' in part && typeof part.text === 'string' ? part.text : '')).join('');
}

/** The turns that a model cannot be asked after, as long as only the beginning of their prompts is known. */
export function shortOf(turns: readonly Turn[]): readonly Turn[] {
  const whole = turns.findLastIndex((turn) => turn.asked !== undefined); // all that was said before is in it
  return turns.slice(whole + 1).filter(({ short, prompt, text }) => short && prompt + text !== '');
}

/** How what passes is borne, and what ends that. */
export type Patience = PersistOptions & { readonly signal: AbortSignal };

/** What the server was given for a session; undefined if it does not say. Rejects only when the signal fires. */
export async function sourceOf(client: Client, id: string, patience: Patience): Promise<SourceGiven | undefined> {
  const source = await persist(() => client.source(id, patience), patience).catch(() => undefined);
  patience.signal.throwIfAborted();
  return source;
}

/**
 * Reads the turns before a session, the newest first, and tells each as it comes. A turn that the server refuses to give
 * is told and ends the chain. Returns the session of the first turn that was not read because there are too many, or ''.
 * Rejects only when the signal fires.
 */
export async function readTurns(client: Client, first: string, patience: Patience, tell: (turns: readonly Turn[]) => void): Promise<string> {
  const { signal } = patience;
  const seen = new Set<string>();
  let id = first;
  while (id !== '' && !seen.has(id)) {
    if (seen.size === MAX_TURNS) return id;
    seen.add(id);
    const source = sourceOf(client, id, patience);
    source.catch(() => {}); // the signal's reason, which is thrown below
    try {
      const [session, text] = await persist(() => Promise.all([client.state(id, patience), client.text(id, patience)]), patience);
      const given = await source;
      signal.throwIfAborted();
      const turn: Turn = {
        id,
        prompt: (given && promptOf(given)) ?? session.metadata?.['prompt'] ?? '',
        short: given === undefined,
        model: modelOf(session),
        text,
        outcome: isOver(session.state) ? session.state : 'running',
        events: session.last_event_id,
        why: '',
        asked: askedOf(given),
      };
      const previous = previousOf(session);
      tell([...(previous === '' ? before(given, turn.model) : []), turn]);
      id = previous;
    } catch (error) {
      signal.throwIfAborted();
      const why = error instanceof ProblemError || error instanceof TypeError ? headline(error) : 'It could not be read';
      tell([{ id, prompt: '', model: '', text: '', outcome: 'gone', events: 0, why, asked: undefined }]);
      return '';
    }
  }
  return '';
}
