import { SvidgateError } from '../core/index.ts';

/** One type of resources on an aggregated stream. */
export interface AggregatedLane {
  readonly typeUrl: string;
  /** Called at the first request for the type. Ends soon after the requests have. */
  open(requests: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void>;
}

/**
 * Several types of resources on one stream (ADS): each has its own subscriptions, versions and replies. Requests are taken
 * one by one, and answers wait for each other; a type that fails ends the stream.
 */
export async function* streamAggregated(
  requests: AsyncIterable<Uint8Array>,
  lanes: readonly AggregatedLane[],
  typeOf: (request: Uint8Array) => string,
): AsyncGenerator<Uint8Array, void, void> {
  const answers = new Slot();
  const open = new Map<string, OpenLane>();
  const openLane = (typeUrl: string): Slot => {
    const known = open.get(typeUrl);
    if (known !== undefined) return known.requests;
    const lane = lanes.find((each) => each.typeUrl === typeUrl);
    if (lane === undefined) {
      const types = lanes.map((each) => each.typeUrl).join(' or ');
      throw new SvidgateError('invalid_request', `type_url must be ${types}`);
    }
    const own = new Slot();
    open.set(typeUrl, { requests: own, ended: answers.takeAll(lane.open(own.values())) });
    return own;
  };
  const dispatch = async (): Promise<void> => {
    for await (const request of requests) {
      if (!(await openLane(typeOf(request)).offer(request))) return;
    }
  };
  dispatch()
    .then(() => closeAll(open.values()))
    .then(
      () => answers.end(),
      (error: unknown) => answers.end({ error }),
    );
  try {
    yield* answers.values();
  } finally {
    answers.end();
    await closeAll(open.values());
  }
}

interface OpenLane {
  readonly requests: Slot;
  readonly ended: Promise<void>;
}

async function closeAll(lanes: Iterable<OpenLane>): Promise<void> {
  const all = [...lanes];
  for (const { requests } of all) requests.end();
  await Promise.all(all.map(({ ended }) => ended));
}

/** One message at a time from those who offer to the one who reads. */
class Slot {
  readonly #waiting: { readonly bytes: Uint8Array; readonly taken: (isTaken: boolean) => void }[] = [];
  #end: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** Resolves when the reader comes back for more: false when it does not any more. */
  offer(bytes: Uint8Array): Promise<boolean> {
    if (this.#end !== undefined) return Promise.resolve(false);
    return new Promise((taken) => {
      this.#waiting.push({ bytes, taken });
      this.#wake?.();
    });
  }

  /** Offers all that a source gives, and ends if that fails. Never rejects. */
  async takeAll(source: AsyncGenerator<Uint8Array, void, void>): Promise<void> {
    try {
      for await (const bytes of source) if (!(await this.offer(bytes))) return;
    } catch (error) {
      this.end({ error });
    }
  }

  end(how: { readonly error?: unknown } = {}): void {
    this.#end ??= how;
    for (const { taken } of this.#waiting.splice(0)) taken(false);
    this.#wake?.();
  }

  /** For one reader. Throws what the end was told with. */
  async *values(): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) {
        let isTaken = false;
        try {
          yield next.bytes;
          isTaken = true;
        } finally {
          next.taken(isTaken);
        }
      } else if (this.#end !== undefined) {
        if ('error' in this.#end) throw this.#end.error;
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        this.#wake = undefined;
      }
    }
  }
}
