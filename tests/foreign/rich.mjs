/**
 * A page's script that joins with an object, and so resumes, on the official client.
 *
 * It does what lines of JSON on standard input tell it, and tells what happens as JSON.
 */

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, options, name, burst = 0] = process.argv.slice(2).map((one) => JSON.parse(one));
const show = (what, shown) => console.log(JSON.stringify({ what, shown }));

const socket = io(url, options);
let session, since, epoch;

// A callback, not a promise: the first batch may come in the same payload as the ack.
function join() {
  socket.emit("newUserConnect", { name, session, since }, (answer) => {
    if (!answer.error) {
      ({ session, epoch } = answer);
      since ??= answer.since;
    }
    show("joined", answer);
  });
}

async function say(texts) {
  const acks = texts.map((text) => socket.emitWithAck("sendMessage", { text, key: text }));
  show("said", await Promise.all(acks));
}

socket.on("connect", () => {
  show("connect", socket.io.engine.transport.name);
  join();
  if (burst) say(Array.from({ length: burst }, (_, number) => `burst ${number}`));
});

socket.on("updateMessage", (batch) => {
  since = `${epoch}:${batch.at(-1).offset}`;
  for (const message of batch) show("message", message);
});

socket.on("error", (error) => show("error", error));
socket.on("connect_error", (error) => show("connect_error", error.message));
socket.on("disconnect", (reason) => show("disconnect", reason));
socket.io.engine.on("upgrade", (transport) => show("upgrade", transport.name));

const doing = {
  say,
  emit: ([event, ...data]) => socket.emit(event, ...data),
  close: () => socket.disconnect(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { what, given } = JSON.parse(line);
  doing[what](given);
}
