import { SpaError, type SpaErrorCode } from "../errors.ts";

/** A refusal in the shape that OpenAI's clients read. */
export class HttpError extends Error {
  readonly status: number;
  readonly type: string;
  /** The field that is wrong; null where it is none. */
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    message: string,
    about: { param?: string; code?: string; headers?: Record<string, string> } = {},
  ) {
    super(message);
    this.status = status;
    this.type = types[status] ?? (status < 500 ? "invalid_request_error" : "server_error");
    this.param = about.param ?? null;
    this.code = about.code ?? null;
    this.headers = about.headers ?? {};
  }

  /** The answer's body. */
  get body(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    const { message, type, param, code } = this;
    return { error: { message, type, param, code } };
  }
}

const types: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
};

/** Seconds after which a client that was refused for want of room may ask again. */
const RETRY_AFTER = "1";

const statuses: Partial<Record<SpaErrorCode, number>> = {
  BAD_ARGUMENT: 400,
  CAPACITY: 400,
  STALE_CACHE: 503,
  DISPOSED: 503,
  OUT_OF_MEMORY: 503,
};

/** Whatever went wrong as an answer. */
export function httpErrorOf(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (!(error instanceof SpaError)) return new HttpError(500, "the server failed", { code: "internal" });
  const message = error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
  return new HttpError(statuses[error.code] ?? 500, message, { code: error.code.toLowerCase() });
}

/** There are as many requests as may wait. */
export function tooManyRequests(waiting: number): HttpError {
  return new HttpError(429, `${waiting} requests wait already; try again later`, {
    code: "queue_full",
    headers: { "retry-after": RETRY_AFTER },
  });
}
