/** The page's words, in Korean and English, and which of them it speaks. */

const WORDS = {
  en: {
    page: ({ room }) => `${room} · chat`,
    other: "한국어",
    welcome: "What shall we call you?",
    name: "Nickname",
    name_hint: ({ most }) => `1 to ${number(most)} characters. Everyone in the room sees it.`,
    enter: "Join",
    entering: "Joining…",
    leave: "Leave",
    conversation: "Conversation",
    messages: "Messages",
    names: "Who is here",
    present: ({ count }) => (count === 1 ? "1 person here" : `${number(count)} people here`),
    me: "you",
    text: "Message",
    keys: "Enter sends, Shift + Enter begins a new line.",
    send: "Send",
    count: ({ count, most }) => `${number(count)} of ${number(most)} characters`,
    sending: "sending…",
    newer: "New messages ↓",
    joined: ({ name }) => `${name} has joined.`,
    left: ({ name }) => `${name} has left.`,
    renamed: ({ name, former }) => `${former} is now called ${name}.`,
    gap: "Some messages are missing here: the server no longer has them.",
    closed: "Not connected",
    connecting: "Connecting…",
    open: "Connected",
    reconnecting: "Reconnecting…",
    away: "The connection is lost. We are trying again; what you send meanwhile is delivered then.",
    panel: "The transport",
    requests: "Requests made",
    connections: "New connections, beside the page's",
    received: "Messages in",
    sent: "Messages out",
    carrier: "Carried by",
    connection: "State",
    titles: {
      polling: "HTTP polling",
      longpolling: "HTTP long polling",
      streaming: "HTTP streaming",
      websocket: "WebSocket",
      socketio: "Socket.IO",
    },
    polling: ({ interval_s }) =>
      `The page asks every ${interval_s}\u00a0s; the server answers at once, even if there is nothing.`,
    longpolling: "The page asks, and the server keeps the question until it has something to say.",
    streaming: "The page asks once, and the server's answer never ends: each message adds to it.",
    websocket: "One connection, on which both sides speak whenever they like.",
    socketio: ({ transports }) =>
      transports.length > 1
        ? "Begins with HTTP long polling, then moves to a WebSocket if it can."
        : transports[0] === "polling"
          ? "Stays with HTTP long polling: events come as answers, and go as posts."
          : "A WebSocket from the start, with events and acknowledgements in its frames.",
    errors: {
      bad_request: "The server did not understand this page. Load it again.",
      bad_name: ({ name_chars }) =>
        `This nickname cannot be used. Give 1 to ${number(name_chars)} visible characters, not SERVER.`,
      bad_text: ({ text_chars }) =>
        `This cannot be sent. Write 1 to ${number(text_chars)} characters, without control characters.`,
      forbidden_origin: "A page of another site may not use this chat. Open the chat's own page.",
      unknown_session: "The server no longer knows you. Join again.",
      name_taken: "Somebody here bears this nickname already. Choose another.",
      replaced: "You have gone on elsewhere. To go on here, join again.",
      too_large: "This is too long to send at once. Send it in parts.",
      rate_limited: "That was too much at once. Wait a moment, then try again.",
      room_full: "The room is full. Try again later.",
      slow_consumer: "The page could not keep up with the messages. Join again.",
      shutting_down: "The server is stopping. Try again in a moment.",
      unreachable: "The server does not answer. See that it is running, then try again.",
      library_missing:
        "The Socket.IO library could not be loaded from the server; its own answer says why.",
    },
  },
  ko: {
    page: ({ room }) => `${room} · 채팅`,
    other: "English",
    welcome: "대화명을 알려 주세요",
    name: "대화명",
    name_hint: ({ most }) => `1~${number(most)}자. 방에 있는 모두에게 보입니다.`,
    enter: "들어가기",
    entering: "들어가는 중…",
    leave: "나가기",
    conversation: "대화",
    messages: "메시지",
    names: "지금 있는 사람",
    present: ({ count }) => `${number(count)}명 접속 중`,
    me: "나",
    text: "메시지",
    keys: "Enter로 보내고, Shift + Enter로 줄을 바꿉니다.",
    send: "보내기",
    count: ({ count, most }) => `${number(most)}자 중 ${number(count)}자`,
    sending: "보내는 중…",
    newer: "새 메시지 ↓",
    joined: ({ name }) => `${name}님이 접속했습니다.`,
    left: ({ name }) => `${name}님이 퇴장했습니다.`,
    renamed: ({ name, former }) => `${former}님의 대화명이 이제 ${name}입니다.`,
    gap: "여기에 빠진 메시지가 있습니다. 서버에 더는 남아 있지 않습니다.",
    closed: "연결 안 됨",
    connecting: "연결하는 중…",
    open: "연결됨",
    reconnecting: "다시 연결하는 중…",
    away: "연결이 끊겨 다시 연결하고 있습니다. 그동안 보낸 메시지는 연결되면 전달됩니다.",
    panel: "전송 방식",
    requests: "보낸 요청",
    connections: "페이지의 것 외에 새로 연 연결",
    received: "받은 메시지",
    sent: "보낸 메시지",
    carrier: "지금 쓰는 통로",
    connection: "상태",
    titles: {
      polling: "HTTP 폴링",
      longpolling: "HTTP 롱 폴링",
      streaming: "HTTP 스트리밍",
      websocket: "웹소켓",
      socketio: "Socket.IO",
    },
    polling: ({ interval_s }) =>
      `${interval_s}초마다 새 메시지가 있는지 묻고, 서버는 없으면 없다고 바로 답합니다.`,
    longpolling: "새 메시지가 있는지 물으면, 서버는 할 말이 생길 때까지 답을 미룹니다.",
    streaming: "한 번만 묻습니다. 서버의 답은 끝나지 않고, 메시지가 올 때마다 이어집니다.",
    websocket: "연결 하나를 열어 두고, 양쪽이 아무 때나 말합니다.",
    socketio: ({ transports }) =>
      transports.length > 1
        ? "HTTP 롱 폴링으로 시작해서, 될 수 있으면 웹소켓으로 옮겨 갑니다."
        : transports[0] === "polling"
          ? "HTTP 롱 폴링만 씁니다. 이벤트는 응답으로 오고, 요청으로 갑니다."
          : "처음부터 웹소켓을 씁니다. 프레임에 이벤트와 확인 응답이 담깁니다.",
    errors: {
      bad_request: "서버가 이 페이지를 이해하지 못했습니다. 페이지를 새로 고쳐 주세요.",
      bad_name: ({ name_chars }) =>
        `쓸 수 없는 대화명입니다. 보이는 글자로 1~${number(name_chars)}자를 적어 주세요. SERVER는 쓸 수 없습니다.`,
      bad_text: ({ text_chars }) =>
        `보낼 수 없는 글입니다. 제어 문자 없이 1~${number(text_chars)}자로 적어 주세요.`,
      forbidden_origin: "다른 사이트의 페이지에서는 쓸 수 없습니다. 이 채팅의 페이지를 여세요.",
      unknown_session: "서버가 이 접속을 더는 모릅니다. 다시 들어와 주세요.",
      name_taken: "이미 접속해 있는 대화명입니다. 다른 대화명을 적어 주세요.",
      replaced: "다른 곳에서 대화를 이어 가고 있습니다. 여기서 이어 가려면 다시 들어와 주세요.",
      too_large: "한 번에 보내기에는 너무 깁니다. 나누어 보내 주세요.",
      rate_limited: "한꺼번에 너무 많이 보냈습니다. 잠시 뒤에 다시 해 주세요.",
      room_full: "방이 가득 찼습니다. 나중에 다시 들어와 주세요.",
      slow_consumer: "페이지가 메시지를 따라가지 못했습니다. 다시 들어와 주세요.",
      shutting_down: "서버가 멈추는 중입니다. 잠시 뒤에 다시 해 주세요.",
      unreachable: "서버가 답하지 않습니다. 서버가 켜져 있는지 보고 다시 해 주세요.",
      library_missing:
        "Socket.IO 라이브러리를 서버에서 불러오지 못했습니다. 까닭은 서버의 응답에 적혀 있습니다.",
    },
  },
};

const spoken = new WeakMap();
const remembered = recall();
const wanted = navigator.languages.find((tag) => tag.slice(0, 2) in WORDS)?.slice(0, 2);

/** The language of the page: `ko` or `en`. */
export let language = remembered in WORDS ? remembered : (wanted ?? "en");

/** What is said under a key (`errors.bad_name`), with its blanks filled in. */
export function words(key, blanks = {}) {
  const found = key.split(".").reduce((part, name) => part[name], WORDS[language]);
  return typeof found === "function" ? found(blanks) : found;
}

function number(count) {
  return count.toLocaleString(language);
}

/** Say it in an element, which it answers; say it anew whenever the language changes. */
export function say(element, key, blanks = {}) {
  element.dataset.say = key;
  spoken.set(element, blanks);
  element.textContent = words(key, blanks);
  return element;
}

/** The sentence for an error: its code's own, or that nobody answered. */
export function sentence(error) {
  return `errors.${error.code in WORDS.en.errors ? error.code : "unreachable"}`;
}

/** The time of day of a message, as people of this language write it. */
export function clock(at_ms) {
  return new Intl.DateTimeFormat(language, { timeStyle: "short" }).format(at_ms);
}

/** Speak the language that was chosen, on the whole page, and remember it. */
export function speak(chosen = language) {
  if (chosen !== language) remember(chosen);
  language = chosen;
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-say]"))
    say(element, element.dataset.say, spoken.get(element));
  for (const element of document.querySelectorAll("[data-label]"))
    element.ariaLabel = words(element.dataset.label);
  for (const element of document.querySelectorAll("[data-placeholder]"))
    element.placeholder = words(element.dataset.placeholder);
  for (const element of document.querySelectorAll("time"))
    element.textContent = clock(Date.parse(element.dateTime));
}

function recall() {
  try {
    return localStorage.getItem("language");
  } catch {
    return null; // A browser told to store nothing does not let us ask, either.
  }
}

function remember(chosen) {
  try {
    localStorage.setItem("language", chosen);
  } catch {
    console.info("the language cannot be remembered: this browser stores nothing for us");
  }
}
