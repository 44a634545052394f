/** Socket.IO, the browser's side: the official client's events and acks. */

import { refused } from "/web/errors.js";
import { Backoff, Inbox, newKey } from "/web/inbox.js";
import { wire } from "/web/wire.js";

let settings, inbox, closing, joined, joining, connection;
let going = false; // the page is, with everything on it

// In the capturing phase: before whoever leaves because of it.
addEventListener("pagehide", () => (going = true), true);
addEventListener("pageshow", () => (going = false), true);

/** Open a connection and join, then listen until closed. */
export async function connect(name, given) {
  [settings, inbox, closing] = [given, new Inbox(), new AbortController()];
  wire.state = "connecting";
  try {
    await load(`${settings.path}/socket.io.js`);
    await join({ name, room: settings.room });
  } catch (error) {
    end(error);
    throw error;
  }
  follow();
  return joined;
}

/** Emit an event; when the outcome is unknown, emit it again with the same key. */
export async function send(text, key = newKey()) {
  const { signal } = closing;
  const backoff = new Backoff(signal);
  for (;;) {
    try {
      const { ask } = await entered();
      const { offset } = await ask("sendMessage", { text, key });
      wire.count({ sent: 1 });
      return offset;
    } catch (error) {
      await backoff.after(error);
    }
  }
}

/** What the events bring. */
export function messages() {
  return inbox.messages();
}

/** Leave, by disconnecting properly. */
export async function close() {
  end();
}

async function follow() {
  const { signal } = closing;
  const backoff = new Backoff(signal);
  try {
    while (!signal.aborted) {
      try {
        const { lost } = await entered();
        backoff.reset();
        await lost;
      } catch (error) {
        signal.throwIfAborted();
        wire.state = "reconnecting";
        await backoff.after(error);
      }
    }
  } catch (error) {
    if (!signal.aborted) end(error);
  }
}

/** One Socket.IO connection. `lost` rejects when it ends, and says why. */
class Connection {
  alive = true;
  #ended = Promise.withResolvers();
  #begun = Promise.withResolvers();
  #acks = new Set();

  constructor() {
    this.lost.catch(() => {});
    const { path, transports } = settings;
    // Coming back is ours, as on the other transports: it has to resume at our place.
    this.socket = io({ path, transports, forceNew: true, reconnection: false });
    this.socket.io.on("open", () => this.#carry());
    this.socket.on("updateMessage", (batch) => this.#take(batch));
    this.socket.on("error", (error) => this.end(refused(error)));
    this.socket.on("connect_error", (error) => this.end(error));
    this.socket.on("disconnect", (reason) => this.end(new Error(reason)));
  }

  get lost() {
    return this.#ended.promise;
  }

  get engine() {
    return this.socket.io.engine;
  }

  /** Emit an event, and wait for its ack. */
  ask = async (event, data) => {
    const ack = Promise.withResolvers();
    this.#acks.add(ack);
    const late = setTimeout(() => this.end(new Error("no answer")), settings.timeout_s * 1_000);
    this.socket.emit(event, data, (answer) => {
      if (answer.error) ack.reject(refused(answer.error));
      else ack.resolve(answer);
    });
    return ack.promise.finally(() => {
      clearTimeout(late);
      this.#acks.delete(ack);
    });
  };

  /** Take what comes down from now on: one HTTP answer may bring the ack and a batch. */
  begin() {
    this.#begun.resolve();
  }

  end(error, leave = false) {
    if (!this.alive) return;
    this.alive = false;
    if (leave && this.socket.connected) this.#leave();
    else this.engine.close();
    for (const ack of this.#acks) ack.reject(error);
    this.#ended.reject(error);
  }

  #leave() {
    const { transport, id } = this.engine;
    if (going && transport.name === "polling") {
      // A page that goes takes its requests with it, but not its beacons: the same packet in one.
      const query = new URLSearchParams({ EIO: 4, transport: transport.name, sid: id });
      navigator.sendBeacon(`${settings.path}/?${query}`, "41");
    }
    this.socket.disconnect();
  }

  async #take(batch) {
    try {
      await this.#begun.promise;
      if (this.alive) inbox.put(batch);
    } catch (error) {
      this.end(error);
    }
  }

  // Engine.IO polls before it upgrades; the library's polls are counted where they show.
  #carry() {
    const carried = ({ name }) => {
      wire.carriedBy(name);
      if (name === "websocket") wire.count({ requests: 1, connections: 1 });
    };
    carried(this.engine.transport);
    this.engine.on("upgrade", carried);
  }
}

async function join(command) {
  connection = new Connection();
  try {
    joined = await connection.ask("newUserConnect", command);
  } catch (error) {
    connection.end(error);
    throw error;
  }
  inbox.start(joined);
  connection.begin();
  wire.state = "open";
}

/** The connection that holds: a new one, at our place, if the last has ended. */
async function entered() {
  closing.signal.throwIfAborted();
  if (!connection.alive) {
    const { name, session, room } = joined;
    joining ??= join({ name, since: inbox.position, session, room });
    await joining.finally(() => (joining = null));
  }
  return connection;
}

function end(error) {
  wire.state = "closed";
  closing.abort(error);
  inbox.end(error);
  connection?.end(error ?? new Error("closed"), true);
}

/** The official client, as the server brings it along: it defines `io`. */
async function load(address) {
  if (globalThis.io) return;
  const script = document.createElement("script");
  script.src = address;
  const { promise, resolve, reject } = Promise.withResolvers();
  script.onload = resolve;
  script.onerror = () => reject(Object.assign(new Error(address), { code: "library_missing" }));
  document.head.append(script);
  await promise;
}
