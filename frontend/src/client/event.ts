/** The events of the native protocol, from their wire form to types. */

import type { Unit, Usage } from './client.ts';
import { isRecord, text } from './json.ts';
import type { ServerSentEvent } from './sse.ts';

/** How a session ends. */
export type Outcome = 'done' | 'failed' | 'stopped' | 'interrupted';

/** Why a session did not end well. */
export interface Failure {
  /** The stable name of the case, such as "not_continuable"; '' if none was given. */
  readonly code: string;
  /** For people; '' if none was given. */
  readonly message: string;
}

/** What a `session` event says; it may say more than is named here. */
export interface SessionInfo {
  readonly id?: string;
  readonly unit?: Unit;
  readonly encoding?: string;
  readonly encoding_source?: 'request' | 'model' | 'default';
  readonly unicode?: string;
  /** The session whose text this one begins with. */
  readonly continues?: string;
  readonly [more: string]: unknown;
}

interface Numbered {
  /** Counts 1, 2, 3 … within a session; the cursor to come back with. */
  readonly id: number;
}

export interface TextEvent extends Numbered {
  readonly type: 'text' | 'reasoning';
  readonly text: string;
}

export interface SessionEvent extends Numbered {
  readonly type: 'session';
  readonly session: SessionInfo;
}

export interface ToolCallEvent extends Numbered {
  readonly type: 'tool_call';
  readonly data: unknown;
}

/** The whole session was paused or resumed, for all its readers. */
export interface PauseEvent extends Numbered {
  readonly type: 'paused' | 'resumed';
  /** "no_reader" or "reader" if the server did it by itself; '' if somebody asked. */
  readonly reason: string;
  readonly data: unknown;
}

/**
 * From here on the text is another answer of the model, which was asked to go
 * on. It need not be looked at: the text is joined as any other.
 */
export interface SeamEvent extends Numbered {
  readonly type: 'seam';
  /** How: "prefill" joins exactly, "message" as well as the model can, "anew" had no text to go on from. */
  readonly by: string;
  /** Bytes of the text before it. */
  readonly offset: number;
}

export interface TerminalEvent extends Numbered {
  readonly type: 'end';
  readonly outcome: Outcome;
  /**
   * Such as "stop" or "length"; "no_reader", "unread_limit" or "idle" if nobody read it; "restart" of an answer that a
   * restart of the server cut short; '' if none was given.
   */
  readonly reason: string;
  /** What went wrong; undefined if nothing did. */
  readonly error: Failure | undefined;
  readonly usage: Usage | undefined;
  readonly data: unknown;
}

/**
 * What a provider sent that no other event carries, in sessions of clients that
 * speak its protocol. It need not be looked at: it is no part of the text.
 */
export interface ProviderEvent extends Numbered {
  readonly type: 'provider';
  readonly data: unknown;
}

/** An event under a name of the producer's own. */
export interface PushedEvent extends Numbered {
  readonly type: 'custom';
  readonly name: string;
  readonly data: unknown;
}

export type StreamEvent = TextEvent | SessionEvent | ToolCallEvent | PauseEvent | SeamEvent | ProviderEvent | TerminalEvent | PushedEvent;

/** Reports an answer that is no event stream, or an event that is not of the protocol. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/**
 * Gives the event its type. An event without an id of its own, as a `ping` is,
 * has no place in the text: undefined. Throws ProtocolError.
 */
export function decode(raw: ServerSentEvent): StreamEvent | undefined {
  if (raw.id === undefined || raw.id === '') return undefined;
  const id = Number(raw.id);
  if (!/^[1-9][0-9]*$/.test(raw.id) || !Number.isSafeInteger(id)) {
    throw new ProtocolError(`event id ${JSON.stringify(raw.id)} is no number`);
  }
  let data: unknown;
  try {
    data = JSON.parse(raw.data);
  } catch {
    throw new ProtocolError(`the data of event ${id} is no JSON`);
  }
  const fields = isRecord(data) ? data : {};

  switch (raw.name) {
    case '':
    case 'reasoning': {
      if (typeof fields['text'] !== 'string') throw new ProtocolError(`event ${id} has no text`);
      return { type: raw.name === '' ? 'text' : 'reasoning', id, text: fields['text'] };
    }
    case 'session':
      return { type: 'session', id, session: fields as SessionInfo };
    case 'tool_call':
    case 'provider':
      return { type: raw.name, id, data };
    case 'paused':
    case 'resumed':
      return { type: raw.name, id, reason: text(fields['reason']), data };
    case 'seam':
      return { type: raw.name, id, by: text(fields['by']), offset: typeof fields['offset'] === 'number' ? fields['offset'] : 0 };
    case 'done':
    case 'failed':
    case 'stopped':
    case 'interrupted':
      return {
        type: 'end',
        id,
        outcome: raw.name,
        reason: text(fields['reason']),
        error: failure(fields['error']),
        usage: isRecord(fields['usage']) ? (fields['usage'] as Usage) : undefined,
        data,
      };
    default:
      return { type: 'custom', name: raw.name, id, data };
  }
}

function failure(error: unknown): Failure | undefined {
  if (isRecord(error)) return { code: text(error['code']), message: text(error['message']) };
  return undefined;
}
