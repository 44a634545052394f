/**
 * The script of the original lesson's page, as it was written for the lesson's own server.
 *
 * A line on standard input stands for what the person at the page does; what the page would
 * show goes to standard output, as JSON.
 */

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, options, name] = process.argv.slice(2).map((argument) => JSON.parse(argument));
const show = (what, shown) => console.log(JSON.stringify({ what, shown }));

const socket = io(url, options);

socket.on("connect", () => {
  socket.emit("newUserConnect", name);
  show("connect", socket.io.engine.transport.name);
});

socket.on("updateMessage", (data) => {
  if (data.name === "SERVER") {
    show("info", data.message);
  } else {
    show("chat", `${data.name}: ${data.message}`);
  }
});

// The lesson's page has no such lines; ours only report what it would overlook.
socket.on("error", (error) => show("error", error));
socket.on("connect_error", (error) => show("connect_error", error.message));
socket.on("disconnect", (reason) => show("disconnect", reason));
socket.io.engine.on("upgrade", (transport) => show("upgrade", transport.name));

const doing = {
  click: (message) => socket.emit("sendMessage", { name: "whoever", message }),
  talk: (data) => socket.emit("sendMessage", data),
  rename: (again) => socket.emit("newUserConnect", again),
  close: () => socket.disconnect(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { what, given } = JSON.parse(line);
  doing[what](given);
}
