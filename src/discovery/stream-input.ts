/** What a stream has to look at: a request, a change, or that time is up. */
export interface StreamEvent {
  readonly request: Uint8Array | undefined;
  readonly isChanged: boolean;
  /** When the oldest change was seen, by performance.now(); undefined for the first subject. */
  readonly changedAt: number | undefined;
}

export interface StreamSources<Subject> {
  readonly requests?: AsyncIterable<Uint8Array>;
  readonly subjects: AsyncIterable<Subject>;
}

/**
 * Requests one by one with backpressure, and the newest subject. While the reader is held up, by an Envoy that does not
 * read, newer subjects replace older ones: it never acts on an old one. The sources must end by themselves soon after
 * the reader has stopped: give them a signal that the reader aborts.
 */
export class StreamInput<Subject> implements Disposable {
  #subject: { readonly value: Subject } | undefined;
  #isChanged = false;
  #isTimeUp = false;
  #changedAt: number | undefined;
  #request: { readonly bytes: Uint8Array; readonly taken: () => void } | undefined;
  #end: { readonly error?: unknown } | undefined;
  #isClosed = false;
  #wake: (() => void) | undefined;

  constructor({ requests, subjects }: StreamSources<Subject>) {
    if (requests !== undefined) void this.#pump(requests, (bytes) => this.#offer(bytes));
    void this.#pump(subjects, (subject) => this.#hold(subject));
  }

  /** The newest one, or undefined before the first. */
  get subject(): { readonly value: Subject } | undefined {
    return this.#subject;
  }

  /** Whether next() is about to tell of a change. */
  get isChanged(): boolean {
    return this.#isChanged;
  }

  /** Something else has changed than the subject. */
  readonly change = (): void => {
    this.#isChanged = true;
    if (this.#subject !== undefined) this.#changedAt ??= performance.now();
    this.#wake?.();
  };

  /** Something is due that nobody asked for. */
  readonly timeUp = (): void => {
    this.#isTimeUp = true;
    this.#wake?.();
  };

  /** Undefined when a source has ended; throws what a source throws. */
  async next(): Promise<StreamEvent | undefined> {
    for (;;) {
      if (this.#request !== undefined || this.#isChanged || this.#isTimeUp) return this.#take();
      if (this.#end !== undefined) {
        if ('error' in this.#end) throw this.#end.error;
        return undefined;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#request?.taken();
  }

  #take(): StreamEvent {
    const event = { request: this.#request?.bytes, isChanged: this.#isChanged, changedAt: this.#changedAt };
    this.#request?.taken();
    this.#request = undefined;
    this.#isChanged = false;
    this.#isTimeUp = false;
    this.#changedAt = undefined;
    return event;
  }

  #hold(value: Subject): void {
    const isFirst = this.#subject === undefined;
    this.#subject = { value };
    this.change();
    if (isFirst) this.#changedAt = undefined;
  }

  #offer(bytes: Uint8Array): Promise<void> {
    return new Promise((taken) => {
      this.#request = { bytes, taken };
      this.#wake?.();
    });
  }

  async #pump<T>(source: AsyncIterable<T>, take: (value: T) => Promise<void> | void): Promise<void> {
    try {
      for await (const value of source) {
        if (this.#isClosed) return;
        await take(value);
        if (this.#isClosed) return;
      }
      this.#end ??= {};
    } catch (error) {
      this.#end ??= { error };
    }
    this.#wake?.();
  }
}
