/** HTTP long polling, the browser's side: ask, wait for the answer, ask again at once. */

import { checked, isFinal } from "/web/errors.js";
import { Backoff, Inbox, newKey, within } from "/web/inbox.js";
import { wire } from "/web/wire.js";

let settings, inbox, closing, joined, joining, forgotten;

/** Join, then poll until closed. */
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

/** What the polls bring. */
export function messages() {
  return inbox.messages();
}

/** Leave, and stop polling; a beacon is delivered even when the page goes. */
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
        inbox.put(await ask(await entered()));
        backoff.reset();
        wire.state = "open";
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

async function ask({ session, quiet_s }) {
  const query = new URLSearchParams({ session, since: inbox.position });
  wire.count({ requests: 1 });
  const signal = within(quiet_s + settings.timeout_s, closing.signal);
  return checked(await fetch(`/updateMessage?${query}`, { signal }));
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
