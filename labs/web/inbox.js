/**
 * The client's end of the cursor: what has come down, each once, in order; and when to retry.
 * The twin of labs/inbox.py.
 */

import { ChatError, isFinal } from "/web/errors.js";
import { wire } from "/web/wire.js";

/** An offset was skipped without a gap: the connection is not to be trusted; resume. */
export class Hole extends Error {}

/** Messages on their way to the reader. `position` is where to resume. */
export class Inbox {
  position = "";
  #epoch = "";
  #offset = 0;
  #waiting = [];
  #wake = () => {};
  #ended = false;
  #error = null;

  /** Take the position of the first join; on a later one the place stays what it was. */
  start(joined) {
    if (!this.position) {
      const [, epoch, offset] = /^(?:(.*):)?(\d+)$/.exec(joined.since);
      this.#seen(epoch ?? joined.epoch, Number(offset));
    }
    wire.joined(joined);
  }

  /** Take a batch off the wire; throws `Hole` when messages are missing from it. */
  put(batch) {
    wire.count({ received: batch.length });
    for (const message of batch) {
      if (message.kind === "gap") this.#epoch = message.text;
      else if (message.offset <= this.#offset) continue;
      else if (message.offset !== this.#offset + 1)
        throw new Hole(`after ${this.#offset} came ${message.offset}`);
      this.#seen(this.#epoch, message.offset);
      this.#waiting.push(message);
    }
    this.#wake();
  }

  /** Nothing more will come; the reader gets what is left, then this error. */
  end(error = null) {
    if (this.#ended) return;
    [this.#ended, this.#error] = [true, error];
    this.#wake();
  }

  /** Give the messages out, until the end. */
  async *messages() {
    for (;;) {
      while (this.#waiting.length) yield this.#waiting.shift();
      if (this.#ended) break;
      await new Promise((resolve) => (this.#wake = resolve));
    }
    if (this.#error) throw this.#error;
  }

  #seen(epoch, offset) {
    [this.#epoch, this.#offset] = [epoch, offset];
    this.position = `${epoch}:${offset}`;
  }
}

/**
 * Waiting times that grow twofold, with full jitter, so that a herd spreads out.
 * Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
export class Backoff {
  #tries = 0;

  /** `signal` ends a wait early, by throwing its reason. */
  constructor(signal, first_ms = 200, most_ms = 10_000) {
    [this.signal, this.first_ms, this.most_ms] = [signal, first_ms, most_ms];
  }

  /** The last try went well. */
  reset() {
    this.#tries = 0;
  }

  /** Wait before the next try, never for nothing; throws an error no try can mend. */
  async after(error) {
    this.signal.throwIfAborted();
    if (isFinal(error)) throw error;
    const asked_ms = error instanceof ChatError ? error.retryAfter_s * 1_000 : 0;
    const bound_ms = Math.min(this.most_ms, this.first_ms * 2 ** this.#tries);
    this.#tries += 1;
    await sleep(asked_ms + Math.max(10, Math.random() * bound_ms), this.signal);
  }
}

/** Wait; rejects with the signal's reason if that comes first. */
export function sleep(delay_ms, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, delay_ms);
    signal.addEventListener("abort", abort);
  });
}

/** A signal that ends with the one given, or when the time is over. */
export function within(timeout_s, signal) {
  return AbortSignal.any([signal, AbortSignal.timeout(timeout_s * 1_000)]);
}

/** An idempotency key nobody else will choose. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
