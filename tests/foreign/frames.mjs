/** The plain WebSocket of node's `ws`: each line of standard input is a frame, and back. */

import { createInterface } from "node:readline";
import { WebSocket } from "ws";

const [url] = process.argv.slice(2).map((argument) => JSON.parse(argument));
const show = (what, shown) => console.log(JSON.stringify({ what, shown }));

const socket = new WebSocket(url);
socket.on("open", () => show("open", socket.protocol));
socket.on("message", (data) => show("frame", JSON.parse(data)));
socket.on("ping", () => show("ping", null));
socket.on("close", (code, reason) => show("close", { code, reason: String(reason) }));

const doing = {
  send: (frame) => socket.send(JSON.stringify(frame)),
  close: (code) => socket.close(code),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { what, given } = JSON.parse(line);
  doing[what](given);
}
