/** What the page knows and does of one session, read at one place. */

import { ProblemError, type Client, type End, type Outcome, type Session, type Source, type Status, type StreamEvent, type TerminalEvent } from '../client/index.ts';
import type { Place } from './address.ts';
import type { Sink } from './answer.ts';
import { Commands } from './command.ts';
import { after, isUnmade, mended, type Cut } from './cut.ts';
import { Drawing } from './drawing.ts';
import type { Goal } from './goal.ts';
import { Line } from './line.ts';
import type { Schedule } from './pacer.ts';
import { isActive, isOver, type Phase } from './phase.ts';
import { modelOf, type Speed } from './question.ts';
import { Rate } from './rate.ts';
import type { Seam } from './seam.ts';
import { Silence } from './silence.ts';
import { ending, NAMES, news, newsOf, refusal, type Disk, type Trouble } from './trouble.ts';
import { limited, Watch } from './watch.ts';

export interface ReadingOptions {
  readonly client: Client;
  readonly answer: Sink;
  readonly reasoning: Sink;
  readonly address: { push(place: Place): void; update(place: Place): void; flush(): void; drop(): void };
  readonly schedule: Schedule;
  readonly atOnce: () => boolean;
  /** Called after each drawing. */
  readonly onDraw?: () => void;
  /** Called with what the server says of the session that is read. */
  readonly onSession?: (session: Session) => void;
}

/** How long a hidden page keeps its line, in milliseconds. */
const HIDDEN_LIMIT = 30_000;

const DRAG = 150; // milliseconds between two requests of somebody who drags a scrubber
const TICK = 250; // milliseconds between updates of what moves with time

export class Reading {
  phase: Phase = $state('idle');
  id = $state('');
  unit = $state('');
  /** The model whose answer this is; '' if it is none's, or not known yet. */
  model = $state('');
  /** Where the text comes from; '' if that is not known yet. */
  sourceType: Source['type'] | '' = $state('');
  /** The last event drawn. */
  cursor = $state(0);
  /** The last event that is known of, drawn or not. */
  head = $state(0);
  /** The event that is being read up to, to pause there; undefined if none is. */
  seeking: number | undefined = $state();
  /** Whether the session is known to have ended, wherever this reader is. */
  over = $state(false);
  /** Events a second, as drawn. */
  rate = $state(0);
  /** Events a second asked of the server for this reader; 0, as they come. */
  pace = $state(0);
  /** Whether each event waits for a press. */
  stepping = $state(false);
  /** The whole session is paused, by whomever. */
  heldBack = $state(false);
  stopped = $state(false);
  /** Seconds to the next try. */
  wait = $state(0);
  cut: Cut | undefined = $state.raw();
  /** The events at which the line was lost. */
  breaks: readonly number[] = $state.raw([]);
  /** What the relay's disk does, while that is why nothing comes. */
  disk: Disk | undefined = $state();
  /** The session's last event, once it is drawn. */
  end: TerminalEvent | undefined = $state.raw();
  /** What the server says of the session, as last heard. */
  session: Session | undefined = $state.raw();
  trouble: Trouble | undefined = $state.raw();
  reasoned = $state(false);
  tools: readonly string[] = $state.raw([]);
  /** Where the text is joined from two answers of the model. */
  seams: readonly Seam[] = $state.raw([]);
  /** What a screen reader is told. */
  announcement = $state('');

  readonly #options: ReadingOptions;
  readonly #drawing: Drawing;
  readonly #line: Line;
  readonly #rate = new Rate();
  readonly #commands = new Commands();
  readonly #silence: Silence;
  readonly #watch: Watch;
  #generation = 0; // tells what belongs to a session that has been left
  #leaving = new AbortController(); // ends what is asked only for the session on the page
  #goal: Goal | undefined;
  #exhausted = false; // the server has nothing after the last event drawn
  #closing: { readonly at: number; readonly outcome: Outcome } | undefined;
  #dragging: ReturnType<typeof setTimeout> | undefined;
  #retryAt = 0;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #hiding: ReturnType<typeof setTimeout> | undefined;
  #away = false; // nobody has looked for long: no line is wanted
  #visible = true;

  constructor(options: ReadingOptions) {
    this.#options = options;
    const { client } = options;
    this.#drawing = new Drawing(options.answer, options.reasoning);
    this.#line = new Line({
      ...options,
      draw: (events) => this.#draw(events),
      cursor: () => this.cursor,
      onEvent: (event) => this.#receive(event),
      onStatus: (status) => this.#onStatus(status),
      onEnd: (end) => this.#onEnd(end),
    });
    this.#silence = new Silence({
      ready: (signal) => client.ready({ signal }),
      onChange: (disk) => {
        this.disk = disk;
        this.announcement = news(disk);
      },
    });
    this.#watch = new Watch({
      ask: (signal) => client.state(this.id, { signal }),
      tell: (session) => this.#learn(session),
      onFailure: (error, final) => this.#miss(error, final),
    });
  }

  /** Whether this reader may get something more. */
  get active(): boolean {
    return isActive(this.phase);
  }

  /** Whether the end is drawn. */
  get ended(): boolean {
    return isOver(this.phase);
  }

  /** How many read along, as last heard; 0 once the session is over, because nobody is asked any more. */
  get readers(): number {
    return this.over ? 0 : (this.session?.readers ?? 0);
  }

  /** Why it ended, unless the outcome says it all. */
  get why(): string {
    return this.end === undefined ? '' : ending(this.end, this.#drawing.picture.drawn);
  }

  get place(): Place {
    return { id: this.id, at: this.cursor, paused: this.phase === 'paused', pace: this.pace };
  }

  /** The answer as far as it is drawn. */
  get text(): string {
    return this.#drawing.text;
  }

  /** Shows the session at the place that an address names. */
  open({ id, at, paused, pace }: Place): void {
    this.leave();
    this.id = id;
    this.pace = pace;
    this.#watch.start(0);
    this.#enter('connecting');
    const then = paused ? 'pause' : 'go on';
    if (at === undefined) this.#aim({ at: 'head', then, say: 'Paused at' });
    else this.#readTo(at, then);
  }

  /** A session has been asked for. */
  sending(model: string, unit: string): void {
    this.leave();
    this.model = model;
    this.unit = unit;
    this.#enter('sending');
  }

  /** Reads a session that was made just now, as a new entry of the history; at the speed from the start, or from the first seam on. */
  begin(session: Session, speed: Speed, from: 'start' | 'seam' = 'start'): void {
    this.leave();
    this.id = session.id;
    this.stepping = speed === 'step';
    this.pace = speed === 'step' ? 0 : speed;
    this.#learn(session);
    if (from === 'seam') this.#aim({ at: 'seam', then: this.stepping ? 'pause' : 'go on', say: 'Paused at' });
    const paused = this.stepping && from === 'start';
    // What is before the seam is no news: read anew, it comes at once too.
    this.#options.address.push({ ...this.place, at: from === 'seam' ? undefined : 0, paused });
    if (paused) return this.#halt('Paused at');
    this.announcement = 'Started';
    this.#enter('connecting');
    this.#listen();
  }

  /** Stops drawing at the last event drawn and lets go of the line. */
  pause(): void {
    if (!this.active || this.phase === 'paused') return;
    this.#halt('Paused at');
    this.#options.address.flush();
  }

  /** Goes on after the last event drawn. */
  continue(): void {
    if (this.phase !== 'paused') return;
    this.announcement = `Continued after event ${this.cursor}`;
    this.#enter('connecting');
    this.#listen();
    this.#saveNow();
  }

  /** Shows the text up to an event, and pauses there; at the session's last event, it is at its end again. */
  seek(id: number): void {
    if (!this.active && !this.ended) return;
    const quiet = this.phase === 'paused' || this.#goal?.say === '';
    const target = Math.min(Math.max(0, Math.trunc(id)), Math.max(this.head, this.cursor));
    this.#go(target, quiet ? '' : 'Paused at');
  }

  /** Shows one event more, and pauses there; at the head, it waits for it. */
  step(): void {
    const next = this.cursor + 1;
    if (!this.active || this.#goal?.at === next) return;
    this.#go(next, 'At');
  }

  /** Ends the generation, for everybody. A reader who is behind pauses where it is. */
  async stop(): Promise<void> {
    if (!this.active || this.stopped || this.over) return;
    const generation = this.#generation;
    this.stopped = true;
    const through = await this.#command('Stop', (id) => this.#options.client.stop(id));
    if (generation !== this.#generation) return;
    this.stopped = through;
    if (!through || !this.active) return;
    if (this.phase === 'paused') this.announcement = `Stopped; you are at event ${this.cursor}`;
    else if (this.pace === 0) return; // its end comes at once
    await this.#ask();
    if (generation !== this.#generation) return;
    if (!this.active || this.phase === 'paused' || this.head <= this.#line.received + 1) return;
    this.#halt('');
    this.#options.address.flush();
    this.announcement = `Stopped for all readers; you are at event ${this.cursor} of ${this.head}, and Continue reads the rest`;
  }

  /** Drops this page's line, as a broken network would. */
  drop(): void {
    if (this.phase === 'live') this.#line.cut();
  }

  /** Lets a session go on that was paused for everybody. */
  async release(): Promise<void> {
    await this.#command('Resume', (id) => this.#options.client.resume(id));
  }

  /** Changes the pace of this reader, in mid-stream too. */
  setPace(pace: number): void {
    this.stepping = false;
    if (pace === this.pace) return;
    this.pace = pace;
    if (this.#line.pace !== undefined && this.#goal === undefined) this.#listen();
    this.#saveNow();
  }

  /** Changes the pace, or lets each event wait for a press. */
  setSpeed(speed: Speed): void {
    if (speed !== 'step') return this.setPace(speed);
    this.stepping = true;
    this.pause();
  }

  /** The page is shown, or not. */
  setVisible(visible: boolean): void {
    clearTimeout(this.#hiding);
    this.#visible = visible;
    if (visible) {
      const away = this.#away;
      this.#away = false;
      if (away && this.active && this.phase !== 'paused' && this.#goal?.at !== 'head') this.#listen();
      else this.#line.wake();
      this.#attend(0);
      return;
    }
    this.#attend();
    this.#line.flush(); // no frame comes any more
    this.#hiding = setTimeout(() => this.rest(), HIDDEN_LIMIT);
  }

  /** Lets go of the line until the page is shown again. */
  rest(): void {
    this.#away = true; // for a session that is only being made, too
    this.#attend();
    if (!this.active || this.phase === 'paused') return;
    this.#hangUp();
    this.#enter('connecting');
    this.#saveNow();
  }

  /** The network is back: no need to wait. */
  online(): void {
    this.#line.wake();
  }

  /** Forgets the session on the page, which itself goes on. */
  leave(): void {
    this.#generation++;
    this.#leaving.abort();
    this.#leaving = new AbortController();
    this.#hangUp();
    this.#line.close();
    this.#options.address.drop();
    this.#drawing.clear();
    this.#aim(undefined);
    this.#closing = undefined;
    this.#enter('idle');
    this.id = this.unit = this.model = this.sourceType = '';
    this.head = this.pace = 0;
    this.stepping = this.stopped = this.over = false;
    this.cut = this.end = this.session = this.trouble = undefined;
    this.breaks = [];
    this.#copy();
    this.announcement = '';
  }

  /** Ends the reading with what went wrong. */
  refuse(error: unknown): void {
    this.#hangUp();
    this.cut = mended(this.cut);
    this.#enter('refused');
    const { title, detail } = (this.trouble = refusal(error));
    this.announcement = detail === '' ? `Failed: ${title}` : `Failed: ${title}. ${detail}`;
  }

  /** Tells of what has failed and may yet succeed, or does not end the reading. */
  tell(title: string, detail: string): void {
    if (this.trouble?.title === title && this.trouble.detail === detail) return; // it has been said
    this.trouble = { title, detail };
    this.announcement = `${title}: ${detail}`;
  }

  /**
   * Gives a command that bears repeating, until it is through or refused, or the session is over; also after
   * the page has left the session, since somebody wanted it. Returns whether it is through.
   */
  async #command(name: string, call: (id: string) => Promise<void>): Promise<boolean> {
    const { id } = this;
    const isHere = (): boolean => id === this.id && this.active;
    this.trouble = undefined;
    const through = await this.#commands.give({
      name,
      to: id,
      call: () => call(id),
      isMoot: () => id === this.id && this.over,
      tell: (title, detail) => isHere() && this.tell(title, detail),
    });
    if ((through || this.over) && isHere()) this.trouble = undefined;
    return through;
  }

  #go(target: number, say: Goal['say']): void {
    const drawing = this.#drawing;
    if (target > drawing.kept) drawing.keep(this.#line.take()); // what the line has brought need not be asked for
    if (target <= drawing.kept) {
      this.#hangUp();
      this.#aim(undefined);
      this.#show(target);
      const { end } = drawing.picture;
      if (end !== undefined) this.#finish(end.outcome, end);
      else if (target === this.#closing?.at) this.#finish(this.#closing.outcome, undefined);
      else this.#halt(say);
      return;
    }
    this.#show(drawing.kept);
    this.#aim({ at: target, then: 'pause', say });
    if (this.#line.pace === 0 && this.#line.received === this.cursor) return; // it is on its way
    this.#hangUp();
    this.#enter('connecting');
    const wait = say === 'At' ? 0 : this.#line.askedAt + DRAG - performance.now();
    if (wait > 0) this.#dragging = setTimeout(() => this.#listen(), wait);
    else this.#listen();
  }

  /** Reads up to an event, at full speed. */
  #readTo(at: number, then: Goal['then']): void {
    if (at > 0) this.#aim({ at, then, say: 'Paused at' });
    else if (then === 'pause') return this.#halt('Paused at');
    else this.#aim(undefined);
    this.#listen();
  }

  #aim(goal: Goal | undefined): void {
    this.#goal = goal;
    this.seeking = goal?.then === 'pause' && typeof goal.at === 'number' ? goal.at : undefined;
    this.#line.history = goal === undefined ? 0 : typeof goal.at === 'string' ? Infinity : goal.at;
  }

  #halt(say: Goal['say']): void {
    this.#hangUp();
    this.#aim(undefined);
    this.#enter('paused');
    this.cut = this.end = undefined;
    this.#drawing.sync();
    this.#save();
    this.announcement = say === '' ? '' : `${say} event ${this.cursor}`;
  }

  /** Asks for what comes after the last event drawn, unless nobody looks. */
  #listen(): void {
    this.#hangUp();
    this.cut = mended(this.cut);
    if (this.#away) return;
    this.#line.listen(this.id, this.#goal === undefined ? this.pace : 0);
    this.#silence.heard(performance.now());
    this.#ticker = setInterval(() => this.#tick(), TICK);
  }

  /** Lets go of the line and of what is not drawn. */
  #hangUp(): void {
    this.#line.hangUp();
    this.#exhausted = false;
    this.#rate.clear();
    this.rate = 0;
    this.#silence.clear();
    this.disk = undefined;
    clearInterval(this.#ticker);
    clearTimeout(this.#dragging);
  }

  #receive(event: StreamEvent): void {
    this.#silence.heard(performance.now());
    if (this.disk !== undefined) {
      this.#silence.clear();
      this.disk = undefined;
      this.announcement = 'The text goes on';
    }
    if (event.id > this.head) this.head = event.id;
    const at = this.#goal?.at;
    if (at === 'seam' ? event.type === 'seam' : typeof at === 'number' && event.id >= at) this.#arrive();
  }

  /** The goal is reached. */
  #arrive(): void {
    const goal = this.#goal;
    this.#line.flush();
    if (goal === undefined || this.#goal !== goal) return; // it was the session's end
    if (goal.then === 'pause') return this.#halt(goal.say);
    this.#aim(undefined);
    if (this.pace > 0) this.#listen();
    this.#saveNow();
  }

  /** Draws what has come, behind what is drawn. */
  #draw(events: readonly StreamEvent[]): void {
    const at = this.#goal?.at; // what is before that is history, and no news
    for (const event of this.#drawing.add(events)) if (typeof at !== 'number' || event.id > at) this.announcement = newsOf(event);
    this.#copy();
    if (this.cursor > this.#line.history) this.#rate.add(events.length, performance.now());
    this.#save();
    const { end } = this.#drawing.picture;
    if (end !== undefined) {
      this.#finish(end.outcome, end);
      this.#options.address.flush();
    }
    this.#options.onDraw?.();
  }

  /** Shows the session up to an event that is kept. */
  #show(id: number): void {
    this.#drawing.show(id);
    this.#copy();
    this.#options.onDraw?.();
  }

  /** Brings what the page shows in line with what is drawn. */
  #copy(): void {
    const { unit, reasoned, heldBack, tools, seams } = this.#drawing.picture;
    this.cursor = this.#drawing.cursor;
    this.unit = unit || this.unit;
    this.reasoned = reasoned;
    this.heldBack = heldBack;
    this.tools = tools;
    this.seams = seams;
  }

  #finish(outcome: Outcome, end: TerminalEvent | undefined): void {
    this.#hangUp();
    this.#drawing.end();
    this.#aim(undefined);
    this.cut = mended(this.cut);
    this.#closing = { at: this.cursor, outcome };
    this.over = true;
    this.head = this.cursor;
    this.end = end;
    this.trouble = undefined;
    this.heldBack = false;
    this.#enter(outcome);
    this.#save();
    this.announcement = `${NAMES[outcome]} at event ${this.cursor}${this.why && `: ${this.why}`}`;
    if (this.session?.timings?.ended === undefined) void this.#ask();
  }

  #onStatus(status: Status): void {
    const lost = status.type === 'lost' && !isUnmade(this.cut);
    this.cut = after(this.cut, status);
    switch (status.type) {
      case 'open':
        this.#enter('live');
        break;
      case 'lost':
        this.#enter('reconnecting');
        this.#silence.cancel();
        this.#retryAt = performance.now() + status.wait;
        this.#tick();
        if (lost) {
          this.breaks = [...this.breaks, status.after];
          this.announcement = `The line was lost at event ${status.after}; reconnecting`;
        }
        this.#saveNow();
        break;
      case 'back':
        this.announcement = `Back at event ${status.back}, ${status.missing} lost, ${status.repeated} repeated`;
        break;
    }
  }

  #onEnd(end: End): void {
    if (end.type === 'error') return this.refuse(end.error);
    if (end.type !== 'nothing-more') return;
    this.#exhausted = true;
    this.#watch.stop(); // what it asked before does not tell
    this.#attend(0);
  }

  /** Asks once more what the server says of the session: with its end come figures. */
  async #ask(): Promise<void> {
    const generation = this.#generation;
    try {
      const session = await limited((signal) => this.#options.client.state(this.id, { signal }), this.#leaving.signal);
      if (generation === this.#generation) this.#learn(session);
    } catch {
      // Without the figures, then.
    }
  }

  #learn(session: Session): void {
    this.session = session;
    this.unit ||= session.unit;
    this.model = modelOf(session);
    this.sourceType = session.source.type;
    if (this.#closing === undefined) {
      this.head = Math.max(this.head, session.last_event_id ?? 0);
      this.over ||= isOver(session.state);
    }
    this.#attend();
    this.#options.onSession?.(session);
    const goal = this.#goal;
    if (goal?.at === 'head') this.#readTo(session.last_event_id, goal.then);
    if (this.#exhausted && isOver(session.state)) this.#finish(session.state, undefined);
  }

  /** The server does not say how far the session is. */
  #miss(error: unknown, final: boolean): void {
    const waiting = this.#exhausted || this.#goal?.at === 'head'; // else the line tells
    if (final && (waiting || isGone(error))) return this.refuse(error);
    if (this.phase === 'connecting' && !this.#line.begun) this.#enter('reconnecting');
  }

  #enter(phase: Phase): void {
    this.phase = phase;
    this.#attend();
  }

  /** Asks for head and readers while somebody looks at what can change; for what has to be known, in the background too. */
  #attend(delay?: number): void {
    const wanted = this.#visible || this.session === undefined || this.#exhausted;
    if (wanted && !this.#away && this.active && (!this.over || this.#exhausted)) this.#watch.start(delay);
    else this.#watch.stop();
  }

  /** Moves the address soon, unless it names a place that is not reached yet: browsers refuse a drag's worth at once. */
  #save(): void {
    if (this.id !== '' && this.#goal === undefined) this.#options.address.update(this.place);
  }

  #saveNow(): void {
    this.#save();
    this.#options.address.flush();
  }

  #tick(): void {
    const time = performance.now();
    this.rate = this.#rate.at(time);
    this.wait = this.phase === 'reconnecting' ? Math.max(0, Math.ceil((this.#retryAt - time) / 1000)) : 0;
    if (this.phase === 'live' && !this.heldBack && this.#visible) this.#silence.check(time);
  }
}

function isGone(error: unknown): boolean {
  return error instanceof ProblemError && (error.status === 404 || error.status === 410);
}
