/** HTTP streaming, the browser's side: ask once, take the event stream as it comes. */

import { checked, isFinal, refused } from "/web/errors.js";
import { Backoff, Inbox, newKey, within } from "/web/inbox.js";
import { wire } from "/web/wire.js";

let settings, inbox, closing, joined, joining, forgotten;

/** Join, then listen until closed. */
export async function connect(name, given) {
  [settings, inbox, closing] = [given, new Inbox(), new AbortController()];
  wire.state = "connecting";
  try {
    await join({ name, room: settings.room });
  } catch (error) {
    end(error);
    throw error;
  }
  follow();
  return joined;
}

/** POST it; when the outcome is unknown, POST it again with the same key. */
export async function send(text, key = newKey()) {
  const { signal } = closing;
  const backoff = new Backoff(signal);
  for (;;) {
    try {
      const { session } = await entered();
      const { offset } = await post("/sendMessage", { text, key, session });
      wire.count({ sent: 1 });
      return offset;
    } catch (error) {
      note(error, signal);
      await backoff.after(error);
    }
  }
}

/** What the stream brings. */
export function messages() {
  return inbox.messages();
}

/** Leave, and stop listening; a beacon is delivered even when the page goes. */
export async function close() {
  if (closing.signal.aborted) return;
  end();
  wire.count({ requests: 1 });
  navigator.sendBeacon("/disconnect", JSON.stringify({ session: joined.session }));
}

async function follow() {
  const { signal } = closing;
  const backoff = new Backoff(signal);
  try {
    while (!signal.aborted) {
      try {
        await ask(await entered(), backoff);
      } catch (error) {
        note(error, signal);
        wire.state = "reconnecting";
        await backoff.after(error);
      }
    }
  } catch (error) {
    if (!signal.aborted) end(error);
  }
}

async function ask({ session, quiet_s }, backoff) {
  const { signal } = closing;
  const query = new URLSearchParams({ session, since: inbox.position });
  wire.count({ requests: 1 });
  const source = new EventSource(`/updateMessage?${query}`);
  const { promise: ended, resolve, reject } = Promise.withResolvers();
  let silence = setTimeout(reject, settings.timeout_s * 1_000, new Error("nobody answers"));
  const heard = (event) => {
    clearTimeout(silence);
    // A browser hides the comments that fill a silence; after a long one, ask again.
    silence = setTimeout(resolve, (quiet_s + settings.timeout_s) * 1_000);
    try {
      take(event, backoff);
    } catch (error) {
      reject(error);
    }
  };
  for (const name of ["open", "updateMessage", "error"]) source.addEventListener(name, heard);
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    await ended;
  } finally {
    signal.removeEventListener("abort", abort);
    clearTimeout(silence);
    source.close();
  }
}

function take({ type, data }, backoff) {
  if (type === "updateMessage") {
    inbox.put(JSON.parse(data));
  } else if (type === "error") {
    // One listener for two: the server's event has data, the browser's own has none.
    throw data ? refused(JSON.parse(data)) : new Error("the stream has ended; ask for the rest");
  } else {
    wire.count({ connections: 1 });
    wire.state = "open";
    backoff.reset();
  }
}

async function post(path, command) {
  wire.count({ requests: 1 });
  const signal = within(settings.timeout_s, closing.signal);
  const body = JSON.stringify(command);
  return checked(await fetch(path, { method: "POST", body, signal }));
}

async function join(command) {
  joined = await post("/newUserConnect", command);
  forgotten = false;
  inbox.start(joined);
  wire.state = "open";
}

/** The join that holds: a new one, at our place, if the server may have forgotten us. */
async function entered() {
  if (forgotten) {
    const { name, session, room } = joined;
    joining ??= join({ name, since: inbox.position, session, room });
    await joining.finally(() => (joining = null));
  }
  return joined;
}

function note(error, signal) {
  signal.throwIfAborted();
  // Whoever was away joins again; that announces nothing while the session lives.
  if (!isFinal(error)) forgotten = true;
}

function end(error) {
  wire.state = "closed";
  closing.abort(error);
  inbox.end(error);
}
