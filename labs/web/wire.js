/** What the transport does, for whoever wants to watch: the page's panel listens to `change`. */

/** Counts since the page was loaded, and how things stand. `joined` tells of each join. */
class Wire extends EventTarget {
  #state = "closed";
  requests = 0;
  connections = 0;
  received = 0;
  sent = 0;
  /** What carries Socket.IO at the moment; empty for the others, whose name says it. */
  carrier = "";

  /** `closed`, `connecting`, `open` or `reconnecting`. */
  get state() {
    return this.#state;
  }

  set state(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#changed();
  }

  /** Add to counters: `wire.count({ requests: 1 })`. */
  count(what) {
    for (const [counter, number] of Object.entries(what)) this[counter] += number;
    this.#changed();
  }

  carriedBy(carrier) {
    this.carrier = carrier;
    this.#changed();
  }

  /** The server has answered a join, the first one or a later one. */
  joined(joined) {
    this.dispatchEvent(new CustomEvent("joined", { detail: joined }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

export const wire = new Wire();

// A script does not see the connections below its requests, but the browser times them: where
// connecting took time, there was a new one. A library's XMLHttpRequests show only here.
new PerformanceObserver((list) => {
  for (const { name, initiatorType, fetchStart, connectEnd } of list.getEntries()) {
    const library = initiatorType === "xmlhttprequest";
    const ours = initiatorType === "fetch" && !name.endsWith("/settings.json");
    if (library) wire.count({ requests: 1 });
    if ((library || ours) && connectEnd > fetchStart) wire.count({ connections: 1 });
  }
}).observe({ type: "resource" });
