/** The conversation as it is shown: lines, what is still on its way, and where one has scrolled. */

import { clock, say } from "/web/i18n.js";

const KEPT = 1_000; // lines on the page; the oldest go
const TOGETHER_MS = 300_000; // talk of one person within this time stands together
const BOTTOM_PX = 48; // who is this near to the end follows it
const HUES = 8;

const [scroller, lines, pending, newer] = ["scroller", "lines", "pending", "newer"].map((id) =>
  document.getElementById(id),
);
const hues = new Map();
let following = true;
let last = { name: null, at_ms: 0 };

/** Show a message; `own` marks what I said. */
export function show(message, own) {
  const { kind, name, text } = message;
  if (kind === "talk") talk(message, own);
  else if (kind === "leave") event("left", { name });
  else if (kind === "gap") event("gap").classList.add("gap");
  else if (text) event("renamed", { name, former: text });
  else event("joined", { name });
  while (lines.childElementCount > KEPT) lines.firstElementChild.remove();
  newer.hidden = following;
  settle();
}

/** Show a text that is on its way; answers its line, to be removed when it has come down. */
export function sending(text) {
  const line = element("div", "line own");
  line.append(body(text), say(element("span", "meta"), "sending"));
  pending.append(line);
  follow();
  return line;
}

function talk({ name, text, at_ms }, own) {
  const line = element("div", own ? "line own" : "line");
  const together = last.name === name && at_ms - last.at_ms < TOGETHER_MS;
  line.classList.toggle("together", together);
  line.append(speaker(name, own), body(text), time(at_ms));
  lines.append(line);
  last = { name, at_ms };
}

function speaker(name, own) {
  const line = element("span", "speaker");
  if (!hues.has(name)) hues.set(name, hues.size % HUES);
  line.dataset.hue = String(hues.get(name));
  const who = element("bdi");
  who.textContent = name;
  line.append(who);
  if (own) line.append(" ", say(element("span", "me"), "me"));
  return line;
}

function body(text) {
  const said = element("p", "text");
  said.dir = "auto";
  said.textContent = text;
  return said;
}

function time(at_ms) {
  const when = element("time", "meta");
  when.dateTime = new Date(at_ms).toISOString();
  when.textContent = clock(at_ms);
  return when;
}

function event(key, blanks) {
  const line = say(element("p", "event"), key, blanks);
  lines.append(line);
  last = { name: null, at_ms: 0 };
  return line;
}

function element(tag, className = "") {
  return Object.assign(document.createElement(tag), { className });
}

function follow() {
  following = true;
  newer.hidden = true;
  settle();
}

function settle() {
  if (following) requestAnimationFrame(() => (scroller.scrollTop = scroller.scrollHeight));
}

scroller.addEventListener("scroll", () => {
  following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < BOTTOM_PX;
  if (following) newer.hidden = true;
});
newer.addEventListener("click", follow);
// A keyboard that comes up, or a text field that grows, must not hide the end.
new ResizeObserver(settle).observe(scroller);
