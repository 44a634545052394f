/** Every error of the chat, as a client sees it: the twin of labs/errors.py and labs/http.py. */

/** Each code of SPEC.md section 9, and whether a client may mend it by coming back. */
export const CODES = {
  bad_request: false,
  bad_name: false,
  bad_text: false,
  forbidden_origin: false,
  unknown_session: true,
  name_taken: false,
  replaced: false,
  too_large: false,
  rate_limited: true,
  room_full: false,
  slow_consumer: true,
  shutting_down: true,
};

/** An answer of the chat: `code` is a key of `CODES`, `message` says what to do. */
export class ChatError extends Error {
  constructor(code, message, retryAfter_s = 0) {
    super(message);
    this.code = code;
    this.retryAfter_s = retryAfter_s;
  }
}

/** Whether no further try can mend this error. */
export function isFinal(error) {
  return error instanceof ChatError && !CODES[error.code];
}

/** The chat's error in an object off the wire; any other object is a broken answer. */
export function refused({ code, message }, retryAfter_s = 0) {
  if (Object.hasOwn(CODES, code)) return new ChatError(code, message, retryAfter_s);
  return new Error("an answer that is not the chat's");
}

/** The body of an HTTP answer, no messages for 204; throws the error it holds. */
export async function checked(response) {
  if (response.status === 204) return [];
  const body = await response.json();
  if (response.ok) return body;
  throw refused(body, Number(response.headers.get("Retry-After")) || 0);
}

/** The error behind a WebSocket close code and its reason, which is led by the chat's code. */
export function fromClose(close, reason) {
  const [, code, message] = /^(\w*):? ?(.*)$/s.exec(reason);
  if (Object.hasOwn(CODES, code)) return new ChatError(code, message || code);
  if (close === 1009) return new ChatError("too_large", reason || "the message is too large");
  return new Error(`the connection has ended (${close})`);
}
