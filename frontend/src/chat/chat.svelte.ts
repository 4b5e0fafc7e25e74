/** What the page knows and does: one session, read at one place. */

import {
  Client,
  CutError,
  newKey,
  persist,
  ProblemError,
  type End,
  type Follow,
  type Outcome,
  type Session,
  type Status,
  type StreamEvent,
  type TerminalEvent,
} from '../client/index.ts';
import type { Place } from './address.ts';
import type { Cut } from './cut.ts';
import { Pacer, type Schedule } from './pacer.ts';
import { DEMO, modelOf, request, type Question } from './question.ts';
import { Rate } from './rate.ts';
import { codePoints, type Seam } from './seam.ts';
import type { Sink } from './transcript.ts';
import { diskOf, ending, explain, headline, NAMES, news, refusal, type Disk, type Trouble } from './trouble.ts';

export type Phase = 'idle' | 'sending' | 'connecting' | 'live' | 'paused' | 'reconnecting' | 'refused' | Outcome;

export interface ChatOptions {
  readonly client: Client;
  readonly answer: Sink;
  readonly reasoning: Sink;
  readonly address: { push(place: Place): void; update(place: Place): void; flush(): void; drop(): void };
  readonly schedule: Schedule;
  readonly atOnce: () => boolean;
  /** Called after each drawing. */
  readonly onDraw?: () => void;
}

/** How long a hidden page keeps its line, in milliseconds. */
const HIDDEN_LIMIT = 30_000;

/** How long nothing comes before the relay is asked why, and between two such questions, in milliseconds. */
const SILENCE = 5000;
const TICK = 250; // milliseconds between updates of what moves with time

export class Chat {
  phase: Phase = $state('idle');
  id = $state('');
  prompt = $state('');
  unit = $state('');
  /** The model whose answer this is; '' if it is none's, or not known yet. */
  model = $state('');
  /** The last event drawn. */
  cursor = $state(0);
  /** Events a second, as drawn. */
  rate = $state(0);
  /** Events a second asked of the server for this reader. */
  pace = $state(0);
  /** Whether the source has no rate of its own, so that speed is this reader's pace. */
  paced = $state(false);
  /** The whole session is paused, by whomever. */
  heldBack = $state(false);
  stopped = $state(false);
  /** Seconds to the next try. */
  wait = $state(0);
  cut: Cut | undefined = $state.raw();
  cuts = $state(0);
  /** What the relay's disk does, while that is why nothing comes. */
  disk: Disk | undefined = $state();
  end: TerminalEvent | undefined = $state.raw();
  trouble: Trouble | undefined = $state.raw();
  reasoned = $state(false);
  tools: readonly string[] = $state.raw([]);
  /** Where the text is joined from two answers of the model. */
  seams: readonly Seam[] = $state.raw([]);
  /** What a screen reader is told. */
  announcement = $state('');

  readonly #options: ChatOptions;
  readonly #pacer: Pacer;
  readonly #rate = new Rate();
  #follow: Follow | undefined;
  #generation = 0; // tells what belongs to a session that has been left
  #pauseAt: number | undefined; // an address that was paused: draw up to here
  #paceFrom: number | undefined; // history up to here comes at once, the rest at pace
  #question: Question | undefined;
  #leaving = new AbortController(); // ends what is asked only for the session on the page
  #retryAt = 0;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #hiding: ReturnType<typeof setTimeout> | undefined;
  #away = false; // the line was let go because nobody looks
  #visible = true;
  #drawn = false; // there is some of the answer
  #characters = 0; // code points of the text drawn
  #heardAt = 0; // when the last event came, or the line was asked for
  #askedAt = -Infinity; // when the relay was asked whether it is ready
  #asking: AbortController | undefined;

  constructor(options: ChatOptions) {
    this.#options = options;
    this.#pacer = new Pacer({ draw: (events) => this.#draw(events), schedule: options.schedule, atOnce: options.atOnce });
  }

  /** Whether there is a session that can still bring something. */
  get active(): boolean {
    return this.phase === 'connecting' || this.phase === 'live' || this.phase === 'paused' || this.phase === 'reconnecting';
  }

  /** Whether there is a question that can be asked again. */
  get repeatable(): boolean {
    return this.prompt.trim() !== '';
  }

  /** Why it ended, unless the outcome says it all. */
  get why(): string {
    return this.end === undefined ? '' : ending(this.end, this.#drawn);
  }

  get place(): Place {
    return { id: this.id, at: this.cursor, paused: this.phase === 'paused', pace: this.pace };
  }

  /** Asks, as a new session; the one on the page is left to itself. */
  async send(question: Question): Promise<void> {
    this.leave();
    const generation = this.#generation;
    this.#question = question;
    this.prompt = question.prompt;
    this.unit = question.unit;
    this.model = question.model;
    this.paced = question.model !== DEMO;
    this.phase = 'sending';
    try {
      const session = await this.#create(question);
      if (generation !== this.#generation) return;
      this.trouble = undefined;
      this.id = session.id;
      this.model = modelOf(session);
      this.pace = this.paced ? question.speed : 0;
      this.#options.address.push(this.place);
      this.#connect(0);
    } catch (error) {
      if (generation === this.#generation) this.#refuse(error);
    }
  }

  /** Creates the session, once, however often it has to ask: by the key the relay knows that it is the same question. */
  #create(question: Question): Promise<Session> {
    const key = newKey();
    return persist(() => this.#options.client.create(request(question), { key }), {
      signal: this.#leaving.signal,
      onFailure: (error) => this.#trouble(headline(error), `${explain(error)}; trying again`),
    });
  }

  /** Asks the same again, after a failure. False if the question is not known. */
  again(): boolean {
    if (this.#question === undefined) return false;
    void this.send(this.#question);
    return true;
  }

  /** Shows the session at the place that an address names. */
  async open(place: Place): Promise<void> {
    this.leave();
    const generation = this.#generation;
    this.id = place.id;
    this.pace = place.pace;
    this.phase = 'connecting';
    const described = this.#describe(generation);
    let at = place.at;
    if (at === undefined) {
      try {
        at = await described;
      } catch (error) {
        if (generation === this.#generation) this.#refuse(error);
        return;
      }
      if (generation !== this.#generation || this.place.paused) return;
    } else {
      described.catch(() => {}); // what matters of it, the events say too
    }
    this.#pacer.history = at;
    if (place.paused) this.#pauseAt = at;
    else if (place.pace > 0) this.#paceFrom = at;
    if (place.paused && at === 0) this.pause();
    else this.#connect(0);
  }

  /** Stops drawing at the last event drawn and lets go of the line. */
  pause(): void {
    if (!this.active || this.phase === 'paused') return;
    this.#hangUp();
    this.#pauseAt = this.#paceFrom = undefined;
    this.phase = 'paused';
    this.cut = undefined;
    this.#syncText();
    this.#saveNow();
    this.announcement = `Paused at event ${this.cursor}`;
  }

  /** Goes on after the last event drawn. */
  continue(): void {
    if (this.phase !== 'paused') return;
    this.announcement = `Continued after event ${this.cursor}`;
    this.phase = 'connecting';
    this.#connect(this.cursor);
    this.#saveNow();
  }

  /** Ends the generation, for everybody. */
  async stop(): Promise<void> {
    if (!this.active || this.stopped) return;
    const generation = this.#generation;
    this.stopped = true;
    const through = await this.#command('Stop', (id) => this.#options.client.stop(id));
    if (generation !== this.#generation) return;
    this.stopped = through;
    if (through && this.phase === 'paused') this.announcement = `Stopped; you are at event ${this.cursor}`;
  }

  /** Drops this page's line, as a broken network would. */
  drop(): void {
    if (this.phase !== 'live') return;
    this.#follow?.cut();
  }

  /** Lets a session go on that was paused for everybody. */
  async release(): Promise<void> {
    await this.#command('Resume', (id) => this.#options.client.resume(id));
  }

  /**
   * Gives a command that bears repeating, until it is through or refused; also after the
   * page has left the session, since somebody wanted it. Returns whether it is through.
   */
  async #command(name: string, call: (id: string) => Promise<void>): Promise<boolean> {
    const { id } = this;
    const generation = this.#generation;
    const tell = (title: string, detail: string): void => {
      if (generation === this.#generation && this.active) this.#trouble(title, detail);
    };
    this.trouble = undefined;
    try {
      await persist(() => call(id), { onFailure: (error) => tell(`${name} has not got through yet`, `${explain(error)}; trying again`) });
    } catch (error) {
      tell(`${name} did not get through`, explain(error));
      return false;
    }
    if (generation === this.#generation && this.active) this.trouble = undefined;
    return true;
  }

  /** Changes the pace of this reader in mid-stream. */
  setPace(pace: number): void {
    if (!this.paced || pace === this.pace || this.#catchingUp) return;
    this.pace = pace;
    if (this.phase === 'live' || this.phase === 'connecting' || this.phase === 'reconnecting') this.#connect(this.cursor);
    this.#saveNow();
  }

  /** The page is shown, or not. */
  setVisible(visible: boolean): void {
    clearTimeout(this.#hiding);
    this.#hiding = undefined;
    this.#visible = visible;
    if (visible) {
      if (this.#away && this.active && this.phase !== 'paused') this.#connect(this.cursor);
      else this.#follow?.wake();
      this.#away = false;
      return;
    }
    this.#pacer.flush(); // no frame comes any more
    this.#hiding = setTimeout(() => this.rest(), HIDDEN_LIMIT);
  }

  /** Lets go of the line until the page is shown again. */
  rest(): void {
    if (!this.active || this.phase === 'paused') return;
    this.#hangUp();
    this.phase = 'connecting';
    this.#away = true;
    this.#saveNow();
  }

  /** The network is back: no need to wait. */
  online(): void {
    this.#follow?.wake();
  }

  /** Forgets the session on the page, which itself goes on. */
  leave(): void {
    this.#generation++;
    this.#leaving.abort();
    this.#leaving = new AbortController();
    this.#hangUp();
    this.#options.address.drop();
    this.#options.answer.clear();
    this.#options.reasoning.clear();
    this.#pacer.history = 0;
    this.#pauseAt = this.#paceFrom = undefined;
    this.#question = undefined;
    this.#away = this.#drawn = false;
    this.#characters = 0;
    this.phase = 'idle';
    this.id = this.prompt = this.unit = this.model = '';
    this.cursor = this.pace = this.cuts = 0;
    this.heldBack = this.stopped = this.reasoned = this.paced = false;
    this.cut = this.end = this.trouble = undefined;
    this.tools = [];
    this.seams = [];
    this.announcement = '';
  }

  #connect(after: number): void {
    this.#hangUp();
    this.#away = false;
    const generation = this.#generation;
    const pace = this.#catchingUp ? 0 : this.pace;
    const follow: Follow = this.#options.client.follow(this.id, {
      after,
      ...(pace > 0 ? { pace } : {}),
      cursor: (cause) => {
        // A cut shows what is asked for again; of a broken line, what came whole is kept, or it might never get on.
        if (cause instanceof CutError) this.#pacer.clear();
        else this.#pacer.flush();
        return this.cursor;
      },
      onEvent: (event) => this.#receive(event),
      onStatus: (status) => {
        if (this.#follow === follow) this.#onStatus(status);
      },
      onEnd: (end) => {
        if (this.#follow === follow && generation === this.#generation) void this.#onEnd(end);
      },
    });
    this.#follow = follow;
    this.#heardAt = performance.now();
    this.#ticker = setInterval(() => this.#tick(), TICK);
  }

  #hangUp(): void {
    const follow = this.#follow;
    this.#follow = undefined;
    follow?.close();
    this.#pacer.clear();
    this.#rate.clear();
    this.rate = 0;
    this.#stopAsking();
    this.disk = undefined;
    clearInterval(this.#ticker);
  }

  #receive(event: StreamEvent): void {
    this.#heardAt = performance.now();
    this.#stopAsking();
    if (this.disk !== undefined) {
      this.disk = undefined;
      this.announcement = 'The text goes on';
    }
    this.#pacer.push(event);
    if (this.#pauseAt !== undefined && event.id >= this.#pauseAt) {
      this.#pacer.flush();
      this.pause();
    } else if (this.#paceFrom !== undefined && event.id >= this.#paceFrom) {
      this.#paceFrom = undefined;
      this.#pacer.flush();
      if (this.active) this.#connect(this.cursor);
    }
  }

  #draw(events: readonly StreamEvent[]): void {
    const last = events.at(-1);
    if (last === undefined) return;
    let text = '';
    let reasoning = '';
    let end: TerminalEvent | undefined;
    for (const event of events) {
      switch (event.type) {
        case 'text':
          text += event.text;
          this.#characters += codePoints(event.text);
          this.#drawn = true;
          break;
        case 'reasoning':
          reasoning += event.text;
          this.#drawn = true;
          break;
        case 'seam':
          this.#options.answer.append(text);
          text = '';
          this.#options.answer.mark();
          this.seams = [...this.seams, { id: event.id, by: event.by, characters: this.#characters }];
          this.announcement = `Another answer of the model goes on from event ${event.id}`;
          break;
        case 'session':
          this.unit = event.session.unit ?? this.unit;
          break;
        case 'tool_call':
          this.#tool(event.data);
          break;
        case 'paused':
          this.heldBack = true;
          break;
        case 'resumed':
          this.heldBack = false;
          break;
        case 'end':
          end = event;
          break;
      }
      if (event.type === 'paused' || event.type === 'resumed') {
        const why = event.reason === 'no_reader' ? ', because nobody read it,' : '';
        this.announcement = `The session was ${event.type} for all readers${why} at event ${event.id}`;
      }
    }
    this.#options.answer.append(text);
    if (reasoning !== '') {
      this.reasoned = true;
      this.#options.reasoning.append(reasoning);
    }
    this.cursor = last.id;
    if (last.id > this.#pacer.history) this.#rate.add(events.length, performance.now());
    if (!this.#catchingUp) this.#options.address.update(this.place);
    if (end !== undefined) this.#finish(end.outcome, end);
    this.#options.onDraw?.();
  }

  /** Of a call that comes in fragments, the first alone has the name. */
  #tool(data: unknown): void {
    const name = typeof data === 'object' && data !== null && 'name' in data ? data.name : undefined;
    if (typeof name !== 'string' || name === '') return;
    this.tools = [...this.tools, name];
    this.#drawn = true;
  }

  #finish(outcome: Outcome, end: TerminalEvent | undefined): void {
    this.#hangUp();
    this.#syncText();
    this.#pauseAt = this.#paceFrom = undefined;
    this.#giveUpCut();
    this.end = end;
    this.trouble = undefined;
    this.heldBack = false;
    this.phase = outcome;
    this.#saveNow();
    this.announcement = `${NAMES[outcome]} at event ${this.cursor}`;
    if (this.why !== '') this.announcement += `: ${this.why}`;
  }

  #onStatus(status: Status): void {
    switch (status.type) {
      case 'connecting':
        this.wait = 0;
        break;
      case 'open':
        if (this.phase === 'sending') this.announcement = 'Started';
        this.phase = 'live';
        if (this.cut?.back === undefined && this.cut !== undefined) this.cut = { ...this.cut, open: true };
        break;
      case 'lost':
        this.phase = 'reconnecting';
        this.#stopAsking();
        this.#retryAt = performance.now() + status.wait;
        this.#tick();
        // Tries that fail belong to the same cut.
        if (this.cut === undefined || this.cut.back !== undefined) {
          this.cut = { at: status.after, open: false, back: undefined };
          this.cuts++;
          this.announcement = `The line was lost at event ${status.after}; reconnecting`;
        } else {
          this.cut = { ...this.cut, open: false };
        }
        this.#saveNow();
        break;
      case 'back':
        this.cut = { at: status.cut, open: true, back: { at: status.back, seconds: status.duration / 1000, missing: status.missing, repeated: status.repeated } };
        this.announcement = `Back at event ${status.back}, ${status.missing} lost, ${status.repeated} repeated`;
        break;
      case 'gap':
        break; // the line is lost next, and the strip counts what was missing
    }
  }

  async #onEnd(end: End): Promise<void> {
    if (end.type === 'error') {
      this.#refuse(end.error);
    } else if (end.type === 'nothing-more') {
      const generation = this.#generation;
      try {
        const { state } = await persist(() => this.#options.client.state(this.id), { signal: this.#leaving.signal });
        if (generation === this.#generation && state !== 'running' && state !== 'paused') this.#finish(state, undefined);
      } catch (error) {
        if (generation === this.#generation) this.#refuse(error);
      }
    }
  }

  /** Reads what the events do not say; returns the last id. */
  async #describe(generation: number): Promise<number> {
    const { id } = this;
    const session = await persist(() => this.#options.client.state(id), {
      signal: this.#leaving.signal,
      onFailure: () => {
        if (this.phase === 'connecting' && this.#follow === undefined) this.phase = 'reconnecting';
      },
    });
    if (generation === this.#generation) {
      this.unit ||= session.unit;
      this.model = modelOf(session);
      this.prompt = session.metadata?.['prompt'] ?? '';
      this.paced = session.source.type !== 'generate';
    }
    return session.last_event_id;
  }

  #refuse(error: unknown): void {
    this.#hangUp();
    this.#giveUpCut();
    this.phase = 'refused';
    const { title, detail } = (this.trouble = refusal(error));
    this.announcement = detail === '' ? `Failed: ${title}` : `Failed: ${title}. ${detail}`;
  }

  /** A cut that nothing has come after is not to be told as one that is being mended. */
  #giveUpCut(): void {
    if (this.cut?.back === undefined) this.cut = undefined;
  }

  /** Tells of what has failed and may yet succeed, or does not end the reading. */
  #trouble(title: string, detail: string): void {
    if (this.trouble?.title === title && this.trouble.detail === detail) return; // it has been said
    this.trouble = { title, detail };
    this.announcement = `${title}: ${detail}`;
  }

  #syncText(): void {
    this.#options.answer.sync();
    this.#options.reasoning.sync();
  }

  /** An opened address is not reached yet: until then it stands as it is. */
  get #catchingUp(): boolean {
    return this.#pauseAt !== undefined || this.#paceFrom !== undefined;
  }

  #saveNow(): void {
    if (this.id === '' || this.#catchingUp) return;
    this.#options.address.update(this.place);
    this.#options.address.flush();
  }

  #tick(): void {
    const time = performance.now();
    this.rate = this.#rate.at(time);
    this.wait = this.phase === 'reconnecting' ? Math.max(0, Math.ceil((this.#retryAt - time) / 1000)) : 0;
    const silent = this.phase === 'live' && !this.heldBack && time - this.#heardAt >= SILENCE;
    if (silent && this.#visible && this.#asking === undefined && time - this.#askedAt >= SILENCE) void this.#ask();
  }

  /** Asks the relay whether its disk is why nothing comes. */
  async #ask(): Promise<void> {
    const asking = new AbortController();
    this.#asking = asking;
    this.#askedAt = performance.now();
    let disk: Disk | undefined;
    try {
      await this.#options.client.ready({ signal: asking.signal });
    } catch (error) {
      disk = error instanceof ProblemError ? diskOf(error) : this.disk; // without an answer, as it was
    }
    if (this.#asking !== asking) return;
    this.#asking = undefined;
    if (disk === this.disk) return;
    this.disk = disk;
    this.announcement = news(disk);
  }

  #stopAsking(): void {
    this.#asking?.abort();
    this.#asking = undefined;
  }
}
