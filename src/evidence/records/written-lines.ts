/** Lines on their way to standard output, which is another thread's. */
export class WrittenLines {
  readonly #send: (lines: string) => void;
  #waiting: PromiseWithResolvers<undefined> | undefined;

  constructor(send: (lines: string) => void) {
    this.#send = send;
  }

  /** Resolves when they are written. One call at a time. */
  async write(lines: string): Promise<void> {
    this.#waiting = Promise.withResolvers<undefined>();
    this.#send(lines);
    await this.#waiting.promise;
  }

  written(failure: string | undefined): void {
    if (failure === undefined) this.#waiting?.resolve(undefined);
    else this.#waiting?.reject(new Error(failure));
  }
}
