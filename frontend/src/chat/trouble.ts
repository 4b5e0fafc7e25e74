/** What the page says of an error. */

import { passes, ProblemError, type Failure, type Outcome, type StreamEvent, type TerminalEvent } from '../client/index.ts';

export interface Trouble {
  readonly title: string;
  /** '' if there is no more to say. */
  readonly detail: string;
}

/** Codes of a session that is no more. */
const GONE: readonly string[] = ['session_not_found', 'session_expired', 'session_evicted', 'session_deleted'];

/** What has happened, in a few words. */
export function headline(error: unknown): string {
  if (!(error instanceof ProblemError)) return error instanceof TypeError ? 'The server cannot be reached' : 'Something is wrong';
  switch (error.code) {
    case 'session_deleted':
      return 'This session was deleted';
    case 'session_evicted':
      return 'This session was removed to make room';
    case 'shutting_down':
      return 'The server is being restarted';
    case 'storage_full':
      return 'The server has no room left';
  }
  switch (error.status) {
    case 404:
      return 'There is no such session';
    case 410:
      return 'This session has expired';
    case 416:
      return 'The server has less of this session than this page';
    case 429:
      return 'The server is busy';
    default:
      return passes(error) ? 'The server is not ready' : 'The server refused';
  }
}

/**
 * What ends the reading, said once: of a session that is no more, the headline is the whole of it. Nothing gives up on a
 * server that cannot be reached, so a TypeError is a fault of the page.
 */
export function refusal(error: unknown): Trouble {
  if (error instanceof TypeError) return { title: 'This page has a fault', detail: error.message };
  const gone = error instanceof ProblemError && GONE.includes(error.code);
  return { title: headline(error), detail: gone ? '' : explain(error) };
}

/** Why, as the server tells it. */
export function explain(error: unknown): string {
  if (error instanceof TypeError) return 'it does not answer'; // what fetch says is another in each browser
  return error instanceof Error ? error.message : String(error);
}

/** Why a session ended before its text did, in whole sentences; drawn is whether there is any of it. */
export function lament({ code, message }: Failure, drawn: boolean): string {
  const said = reason(code) || sentence(message || code.replaceAll('_', ' '));
  return drawn ? `${said} What came is above.`.trimStart() : said;
}

function reason(code: string): string {
  switch (code) {
    case 'storage_full':
      return 'The relay’s disk is full, and the rest of this answer could not be kept.';
    case 'storage_failed':
      return 'The relay’s disk took nothing for too long, and the rest of this answer could not be kept.';
    case 'relay_full':
      return 'All the sessions of the relay together have reached its limit, and there was no room for the rest of this answer.';
    case 'session_full':
      return 'This answer has reached the length that the relay allows one session.';
    case 'not_continuable':
      return 'The relay was restarted in the middle of this answer, and its provider cannot be asked for the rest of it.';
    default:
      return '';
  }
}

/** The text with a capital at its beginning and a stop at its end. */
export function sentence(text: string): string {
  const words = text.trim();
  if (words === '') return '';
  const [first = ''] = words; // a code point
  return first.toUpperCase() + words.slice(first.length) + (/[.!?…。！？]["'”’)]?$/u.test(words) ? '' : '.');
}

export const NAMES: Readonly<Record<Outcome, string>> = { done: 'Done', stopped: 'Stopped', failed: 'Failed', interrupted: 'Interrupted' };

/** Why an answer ended, unless the outcome says it all. */
export function ending({ outcome, reason, error }: TerminalEvent, drawn: boolean): string {
  if (error?.message || error?.code) return lament(error, drawn);
  if (reason === outcome || (outcome === 'done' && reason === 'stop')) return '';
  if (reason === 'no_reader') return 'Nobody read it.';
  if (reason === 'unread_limit') return 'Nobody read it, and the relay lets only so many answers go on unread, each only for so long.';
  const words = reason.replaceAll('_', ' ');
  return outcome === 'done' ? words : sentence(words);
}

/** What the relay's disk does, for as long as it takes no text. */
export type Disk = 'waiting' | 'full';

/** What the answer to whether the relay is ready says of its disk; undefined if nothing. */
export function diskOf(error: ProblemError): Disk | undefined {
  if (error.code === 'storage_full') return 'full';
  return error.code === 'unavailable' ? 'waiting' : undefined;
}

/** What has become of the relay's disk, to be said aloud; undefined: it is back. */
export function news(disk: Disk | undefined): string {
  switch (disk) {
    case 'waiting':
      return 'The relay waits for its disk; the text goes on, or ends, when the disk is back';
    case 'full':
      return 'The relay’s disk is full; the text goes on, or ends, when there is room again';
    case undefined:
      return 'The relay’s disk is back';
  }
}

/** What has happened to the whole session, to be said aloud. */
export function newsOf(event: StreamEvent): string {
  if (event.type === 'seam') return `Another answer of the model goes on from event ${event.id}`;
  const why = 'reason' in event && event.reason === 'no_reader' ? ', because nobody read it,' : '';
  return `The session was ${event.type} for all readers${why} at event ${event.id}`;
}
