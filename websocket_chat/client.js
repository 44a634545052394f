/** WebSocket, the browser's side: one connection, frames both ways, acks by number. */

import { fromClose, refused } from "/web/errors.js";
import { Backoff, Inbox, newKey } from "/web/inbox.js";
import { wire } from "/web/wire.js";

const LEAVE = 1000; // who closes normally has left
const RETURN = 4000; // who closes otherwise may come back within the lease

let settings, inbox, closing, joined, joining, connection;

/** Open a connection and join, then listen until closed. */
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

/** Send a frame; when the outcome is unknown, send it again with the same key. */
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

/** What the frames bring. */
export function messages() {
  return inbox.messages();
}

/** Leave, by closing the connection properly. */
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

/** One WebSocket. `lost` rejects when it ends, and says why. */
class Connection {
  alive = true;
  #ended = Promise.withResolvers();
  #acks = new Map();
  #asked = 0;
  #pulse;

  constructor() {
    wire.count({ requests: 1 });
    this.lost.catch(() => {});
    this.socket = new WebSocket(location.origin.replace("http", "ws"));
    this.socket.onopen = () => wire.count({ connections: 1 });
    this.socket.onmessage = ({ data }) => this.#take(data);
    this.socket.onclose = ({ code, reason }) => this.end(fromClose(code, reason));
  }

  get lost() {
    return this.#ended.promise;
  }

  /** Send a frame with a number, and wait for the ack that bears it. */
  ask = async (event, data) => {
    const id = ++this.#asked;
    const ack = Promise.withResolvers();
    this.#acks.set(id, ack);
    const late = setTimeout(() => this.end(new Error("no answer")), settings.timeout_s * 1_000);
    const up = JSON.stringify({ event, data, id });
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(up);
    else this.socket.addEventListener("open", () => this.socket.send(up));
    return ack.promise.finally(() => {
      clearTimeout(late);
      this.#acks.delete(id);
    });
  };

  /** Make sure of the other side now and then: a browser cannot ping, but it can join again. */
  keep({ name, room, quiet_s }) {
    const probe = () => this.ask("newUserConnect", { name, room }).catch((e) => this.end(e));
    this.#pulse = setInterval(probe, quiet_s * 1_000);
  }

  end(error, code = RETURN) {
    if (!this.alive) return;
    this.alive = false;
    this.socket.close(code);
    clearInterval(this.#pulse);
    for (const ack of this.#acks.values()) ack.reject(error);
    this.#ended.reject(error);
  }

  #take(down) {
    try {
      const { event, data, id } = JSON.parse(down);
      if (!this.alive) return;
      if (event === "updateMessage") inbox.put(data);
      else if (event === "ack") this.#acks.get(id)?.resolve(data);
      else if (event === "error") this.#acks.get(id)?.reject(refused(data));
    } catch (error) {
      this.end(error);
    }
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
  connection.keep(joined);
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
  connection.end(error ?? new Error("closed"), LEAVE);
}
