/** The page: asks for a name, shows what comes, sends what is written. One for all variants. */

import * as client from "/client.js";
import { CODES } from "/web/errors.js";
import { language, say, sentence, speak, words } from "/web/i18n.js";
import { sending, show } from "/web/lines.js";
import { wire } from "/web/wire.js";

const NEAR = 0.9; // from this part of a limit on, characters are counted aloud

const $ = (id) => document.getElementById(id);
const settings = await (await fetch("/settings.json")).json();
const underway = [];
let here = new Set();
let me = "";

/** Join under a name, then show what comes until it ends. */
async function enter(name) {
  busy(true);
  complain($("name"), $("name-error"));
  try {
    await client.connect(name, settings);
  } catch (error) {
    stayOut(error);
    return;
  } finally {
    busy(false);
  }
  inside(true);
  read(client.messages());
}

async function read(messages) {
  try {
    for await (const message of messages) take(message);
  } catch (error) {
    stayOut(error);
  }
}

function take(message) {
  const { kind, name, text } = message;
  if (kind === "talk" && name === me) arrived((one) => one.text === text, 1);
  if (kind === "gap") arrived((one) => one.accepted);
  if (kind === "leave") here.delete(name);
  if (kind === "join") {
    here.delete(text);
    here.add(name);
  }
  if (kind === "join" || kind === "leave") people();
  show(message, name === me);
}

async function talk(text) {
  const one = { text, line: sending(text), accepted: false };
  underway.push(one);
  try {
    await client.send(text);
    one.accepted = true;
  } catch (error) {
    arrived((other) => other === one);
    if (!$("text").value) $("text").value = text;
    complain($("text"), $("text-error"), error);
  }
}

/** What came down, or never will, is no longer on its way. */
function arrived(matches, most = underway.length) {
  for (const one of underway.filter(matches).slice(0, most)) {
    underway.splice(underway.indexOf(one), 1);
    one.line.remove();
  }
}

function inside(joined) {
  $("door").hidden = joined;
  $("chat").hidden = $("leave").hidden = !joined;
  $(joined ? "text" : "name").focus();
}

/** Stay at the door, or go back to it, and say why: at the name if that is what was wrong. */
function stayOut(error) {
  inside(false);
  const atName = error.code === "name_taken" || error.code === "bad_name";
  if (atName) complain($("name"), $("name-error"), error);
  else explain($("ended"), error);
}

function busy(joining) {
  $("enter").disabled = joining;
  say($("enter"), joining ? "entering" : "enter");
  if (joining) $("ended").hidden = true;
}

/** Show the error beside the field it is about; without one, all is well again. */
function complain(field, place, error) {
  field.ariaInvalid = String(Boolean(error));
  if (error) explain(place, error);
  else place.hidden = true;
}

function explain(place, error) {
  place.replaceChildren(say(document.createElement("span"), sentence(error), settings));
  if (error.code in CODES) {
    // The server's own sentence is exact, but always English.
    const detail = Object.assign(document.createElement("small"), { lang: "en" });
    detail.textContent = error.message;
    place.append(" ", detail);
  }
  place.hidden = false;
}

function people() {
  say($("present"), "present", { count: here.size });
  $("names").replaceChildren(...[...here].map(person));
}

function person(name) {
  const item = document.createElement("li");
  const who = document.createElement("bdi");
  who.textContent = name;
  item.append(who);
  if (name === me) {
    const mark = say(document.createElement("span"), "me");
    mark.className = "me";
    item.append(" ", mark);
  }
  return item;
}

function panel() {
  for (const counter of ["requests", "connections", "received", "sent"])
    $(counter).textContent = wire[counter].toLocaleString(language);
  for (const place of ["state", "connection"]) say($(place), wire.state);
  document.body.dataset.state = wire.state;
  $("carrier").textContent = wire.carrier;
  $("carried").hidden = !wire.carrier;
  $("notice").hidden = wire.state !== "reconnecting";
}

/** Count code points, as the server does; say how many when there are nearly too many. */
function count(field, place, most) {
  const characters = [...field.value].length;
  place.classList.toggle("over", characters > most);
  if (characters >= NEAR * most) say(place, "count", { count: characters, most });
  return characters >= NEAR * most;
}

function write() {
  const text = $("text").value.trimEnd();
  if (!text) return;
  $("text").value = "";
  edited();
  talk(text);
}

function edited() {
  complain($("text"), $("text-error"));
  $("text-count").hidden = !count($("text"), $("text-count"), settings.text_chars);
}

function named() {
  const most = settings.name_chars;
  if (!count($("name"), $("name-hint"), most)) say($("name-hint"), "name_hint", { most });
}

function label() {
  $("language").textContent = words("other");
  $("language").lang = language === "ko" ? "en" : "ko";
  document.title = words("page", settings);
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!$("enter").disabled) enter($("name").value);
});
$("name").addEventListener("input", named);
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  write();
});
$("text").addEventListener("input", edited);
$("text").addEventListener("keydown", (event) => {
  // The Enter that ends a composition (Korean, for one) is not ours; 229 is how Safari says so.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  write();
});
$("leave").addEventListener("click", () => {
  client.close();
  inside(false);
});
$("language").addEventListener("click", () => {
  speak(language === "ko" ? "en" : "ko");
  label();
  panel();
});

wire.addEventListener("change", panel);
wire.addEventListener("joined", ({ detail }) => {
  [me, here] = [detail.name, new Set(detail.present)];
  $("room").textContent = detail.room;
  people();
});

// A page that goes has left; one that comes back from the back/forward cache joins again.
addEventListener("pagehide", () => {
  if (!$("chat").hidden) client.close();
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted && !$("chat").hidden) enter(me);
});

$("people").open = $("panel").open = matchMedia("(min-width: 48rem)").matches;
$("room").textContent = settings.room;
for (const place of ["title", "transport"]) say($(place), `titles.${settings.variant}`);
for (const place of ["about", "explanation"]) say($(place), settings.variant, settings);
named();
panel();
speak();
label();
$("name").focus();
