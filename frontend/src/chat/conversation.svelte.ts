/** A conversation: turns that were, and the one that is read. */

import { newKey, persist, type Session, type SourceGiven } from '../client/index.ts';
import type { Place } from './address.ts';
import { give } from './command.ts';
import { isOver } from './phase.ts';
import { DEMO, modelOf, repeat, request, type Question, type Speed } from './question.ts';
import { Reading, type ReadingOptions } from './reading.svelte.ts';
import { askedOf, before, messagesOf, previousOf, promptOf, readTurns, shortOf, sourceOf, type Patience, type Turn } from './turn.ts';
import { explain, headline } from './trouble.ts';

export type ConversationOptions = Omit<ReadingOptions, 'onSession'> & { readonly address: { read(): Place | undefined } };

/**
 * Each turn is a session, whose metadata names the session of the turn before. The last turn is read; those before it
 * are shown as they were left, or as the server has them.
 */
export class Conversation {
  readonly reading: Reading;
  /** Turns before the one that is read, the oldest first. */
  turns: readonly Turn[] = $state.raw([]);
  /** What was asked in the turn that is read; '' if nothing was, or it is not known. */
  prompt = $state('');
  /** The session of the turn before the first of turns, if those were too many to read; else ''. */
  earlier = $state('');
  /** Whether another answer is being asked for, in the place of the one that is read. */
  busy = $state(false);

  readonly #options: ConversationOptions;
  #generation = 0; // tells what belongs to a conversation that has been left
  #leaving = new AbortController();
  #asking = new AbortController(); // ends what is asked for in the place of the present turn
  #question: Question | undefined = $state.raw(); // as asked on this page
  #source: SourceGiven | undefined; // what the turn that is read was given
  #loading: Promise<unknown> | undefined; // of the turns before, and of the source

  constructor(options: ConversationOptions) {
    this.#options = options;
    this.reading = new Reading({ ...options, onSession: (session) => this.#onSession(session) });
  }

  /** Whether the answer broke off and its model can be asked for the rest. */
  get canGoOn(): boolean {
    const { sourceType, phase, tools, text } = this.reading;
    return sourceType === 'upstream' && (phase === 'stopped' || phase === 'failed' || phase === 'interrupted') && tools.length === 0 && text !== '';
  }

  /** Whether the same can be asked for another answer. */
  get canRegenerate(): boolean {
    const { sourceType, ended } = this.reading;
    return ended && (sourceType === 'generate' || sourceType === 'upstream');
  }

  /** Whether there is something that again does. */
  get repeatable(): boolean {
    const { phase, id, trouble } = this.reading;
    if (phase !== 'refused') return this.canRegenerate;
    return id === '' || trouble?.detail !== ''; // of a session that is no more there is no more to say
  }

  /** Shows the session at the place that an address names, and the turns before it. */
  open(place: Place): void {
    this.leave();
    this.reading.open(place);
  }

  /**
   * Asks, as a new session after the one on the page, which goes on by itself. False if the question is not taken: it is
   * blank, or the one before it is not a session yet, which this one has to name.
   */
  send(question: Question): boolean {
    if (question.prompt.trim() === '') return false;
    if (this.reading.phase === 'sending') {
      this.reading.tell('This question is not sent', 'the one before it is still on its way');
      return false;
    }
    this.#options.address.flush();
    const turn = this.#turn();
    if (turn !== undefined) {
      this.turns = [...this.turns, turn];
      if (this.#question === undefined) this.#loading ??= this.#late(turn.id);
    }
    void this.#ask(question);
    return true;
  }

  /** Does what can be done after a failure: opens again what was refused, or asks again. False if there is nothing that can be done. */
  again(): boolean {
    if (!this.repeatable) return false;
    const { phase, id } = this.reading;
    if (phase !== 'refused') void this.regenerate();
    else if (id !== '') this.#reopen();
    else if (this.#question !== undefined) void this.#ask({ ...this.#question, speed: this.#speed });
    return true;
  }

  /** Asks the same for another answer, which takes the place of this one. */
  async regenerate(): Promise<void> {
    if (!this.canRegenerate) return;
    const { id, session } = this.reading;
    if (session === undefined) return;
    await this.#replace('Regenerate', 'start', async (key, signal) => {
      const source = this.#source ?? (await this.#options.client.source(id, { signal }));
      this.#given(id, source);
      return this.#options.client.create(repeat(source, session), { key, signal });
    });
  }

  /** Asks for the rest of an answer that broke off, as a session that begins with what there is of it. */
  async goOn(): Promise<void> {
    if (!this.canGoOn) return;
    const { id } = this.reading;
    await this.#replace('Continue', 'seam', (key, signal) => this.#options.client.continue(id, { key, signal }));
  }

  /** Forgets what is on the page; its sessions go on. */
  leave(): void {
    this.#generation++;
    this.#leaving.abort();
    this.#asking.abort();
    this.#leaving = new AbortController();
    this.reading.leave();
    this.turns = [];
    this.prompt = this.earlier = '';
    this.busy = false;
    this.#question = this.#source = this.#loading = undefined;
  }

  async #ask(question: Question): Promise<void> {
    const generation = ++this.#generation;
    const { client } = this.#options;
    const signal = this.#renew();
    this.reading.sending(question.model, question.unit);
    this.reading.setSpeed(question.speed);
    this.prompt = question.prompt;
    this.busy = false;
    this.#question = question;
    this.#source = undefined;
    try {
      if (question.model !== DEMO && !(await this.#complete(signal))) return;
      signal.throwIfAborted();
      const body = request(question, messagesOf(this.turns), this.#previous());
      const key = newKey();
      const session = await persist(() => client.create(body, { key, signal }), this.#patience(signal));
      signal.throwIfAborted();
      this.#source = body.source;
      this.reading.begin(session, this.#speed);
    } catch (error) {
      if (generation === this.#generation) this.reading.refuse(error);
    }
  }

  /** Makes a session and reads it in the place of the present one, which stays on the page until there is the other. */
  async #replace(name: string, from: 'start' | 'seam', make: (key: string, signal: AbortSignal) => Promise<Session>): Promise<void> {
    if (this.busy) return;
    const generation = ++this.#generation;
    const signal = this.#renew();
    const { reading } = this;
    const key = newKey();
    this.busy = true;
    const isHere = (): boolean => generation === this.#generation;
    const made = await give(name, () => make(key, signal), (title, detail) => isHere() && reading.tell(title, detail), signal).catch(() => undefined);
    if (!isHere()) return;
    this.busy = false;
    if (made === undefined) return;
    this.#options.address.flush();
    reading.begin(made.value, this.#speed, from);
  }

  /** Opens the session again that was refused, at the place that the address names. */
  #reopen(): void {
    const { reading } = this;
    const { address } = this.#options;
    address.flush();
    const { stepping, place } = reading;
    const { at, paused } = address.read() ?? place;
    reading.open({ ...place, at, paused: paused || stepping });
    reading.stepping = stepping;
  }

  /** The reader's speed, as it is now. */
  get #speed(): Speed {
    return this.reading.stepping ? 'step' : this.reading.pace;
  }

  /** What a question waits for is tried until it is there, and the page says so. */
  #patience(signal: AbortSignal): Patience {
    return {
      signal,
      onFailure: (error) => {
        if (this.reading.phase === 'sending') this.reading.tell(headline(error), `${explain(error)}; trying again`);
      },
    };
  }

  /** What was said before is part of a question to a model: waits until it is known, as a whole. False if it cannot be had. */
  async #complete(signal: AbortSignal): Promise<boolean> {
    const { client } = this.#options;
    await this.#loading;
    for (const { id } of shortOf(this.turns)) {
      signal.throwIfAborted();
      try {
        this.#given(id, await persist(() => client.source(id, { signal }), this.#patience(signal)));
      } catch (error) {
        signal.throwIfAborted();
        this.reading.refuse(error);
        this.reading.tell('What was asked before cannot be read', explain(error));
        return false;
      }
    }
    return true;
  }

  /** Takes back what is being asked for. */
  #renew(): AbortSignal {
    this.#asking.abort();
    this.#asking = new AbortController();
    return this.#asking.signal;
  }

  /** The turn that is read, as one of those before it; undefined if there is none. */
  #turn(): Turn | undefined {
    const { id, model, phase, cursor, text, trouble } = this.reading;
    if (id === '') return undefined;
    const outcome = isOver(phase) ? phase : phase === 'refused' ? 'gone' : 'left';
    const why = outcome === 'gone' ? (trouble?.title ?? '') : '';
    const short = this.#question === undefined && this.#source === undefined;
    return { id, prompt: this.prompt, short, model, text, outcome, events: cursor, why, asked: askedOf(this.#source) };
  }

  /** The session of the turn before the one that is read. */
  #previous(): string {
    return this.turns.findLast((turn) => turn.id !== '')?.id ?? '';
  }

  /** The server tells of the session that is read: the first time, that is what the rest is asked with. */
  #onSession(session: Session): void {
    if (this.#loading !== undefined || this.#question !== undefined) return;
    this.prompt ||= session.metadata?.['prompt'] ?? '';
    this.#loading = this.#load(session).catch(() => {}); // it was left
  }

  /** Reads what a question has to be asked with, of a session that was left before it was known. */
  async #late(id: string): Promise<void> {
    const patience = this.#patience(this.#leaving.signal);
    try {
      await this.#load(await persist(() => this.#options.client.state(id, patience), patience));
    } catch {
      // Left, or gone: then there is nothing to ask with.
    }
  }

  /** Rejects when the conversation is left. */
  async #load(session: Session): Promise<void> {
    const { client } = this.#options;
    const patience = this.#patience(this.#leaving.signal);
    const previous = previousOf(session);
    const chain = readTurns(client, previous, patience, (turns) => {
      this.turns = [...turns, ...this.turns];
    });
    const source = sourceOf(client, session.id, patience).then((source) => {
      if (source !== undefined) this.#given(session.id, source);
      if (previous === '') this.turns = [...before(source, modelOf(session)), ...this.turns];
    });
    const [earlier] = await Promise.all([chain, source]);
    patience.signal.throwIfAborted();
    this.earlier = earlier;
  }

  /** What a session was given is known; it may be one before the present one meanwhile. */
  #given(id: string, source: SourceGiven): void {
    const prompt = promptOf(source);
    const asked = askedOf(source);
    if (this.reading.id === id) {
      this.#source = source;
      this.prompt = prompt ?? this.prompt;
    } else {
      this.turns = this.turns.map((turn) => (turn.id === id ? { ...turn, prompt: prompt ?? turn.prompt, short: false, asked } : turn));
    }
  }
}
