import { SpaError } from "../errors.ts";
import { nearestName } from "../nearest-name.ts";
import { knownModels } from "./known-models.ts";

/** What a request to the Hub was about. */
export interface HubRequest {
  id: string;
  revision: string;
  endpoint: string;
  /** Whether a token was sent. */
  hasToken: boolean;
}

/** A failure that another attempt may not meet: the server's, or the connection's. */
export class PassingFailure extends Error {
  /** Seconds that the server asks to wait. */
  readonly wait: number | undefined;

  constructor(message: string, options: { cause?: unknown; wait?: number } = {}) {
    super(message, { cause: options.cause });
    this.wait = options.wait;
  }
}

/** What a response of another status than 2xx says of itself. */
export interface FailedResponse {
  status: number;
  /** Where it came from, redirects followed. */
  origin: string;
  /** The file that was asked for; undefined for the Hub's API. */
  file: string | undefined;
  headers: { get(name: string): string | null };
}

/** The failure that a response of another status than 2xx means. */
export function statusError(request: HubRequest, { status, origin, file, headers }: FailedResponse): Error {
  const { id, revision, endpoint } = request;
  // Elsewhere (where a file's content is kept, say) a refusal is no word about the model.
  const isElsewhere = origin !== new URL(endpoint).origin;
  // Addresses of contents expire, or proxies are in the way.
  const isExpired = isElsewhere && file !== undefined && status === 403;
  if (status === 408 || status === 429 || status >= 500 || isExpired) {
    const retryAfter = headers.get("retry-after");
    const wait = retryAfter === null ? Number.NaN : Number(retryAfter);
    return new PassingFailure(
      `${origin} answered ${status}`,
      Number.isFinite(wait) ? { wait: Math.min(wait, 60) } : {},
    );
  }
  const errorCode = headers.get("x-error-code");
  if (errorCode === "GatedRepo") return gated(request);
  if (errorCode === "RevisionNotFound") {
    return new SpaError("HUB_NOT_FOUND", `${id} has no revision "${revision}" at ${endpoint}`, {
      hint: `a revision is a branch, tag or commit; ${endpoint}/${id}/commits/main lists them`,
    });
  }
  if (isElsewhere || (status === 404 && file !== undefined)) {
    return new SpaError("HUB_FAILED", `${origin} answered ${status} for ${file ?? "the files"} of ${id}`, {
      hint: `the Hub names it but does not give it: look at ${endpoint}/${id}, and check HF_ENDPOINT and the proxy's settings`,
    });
  }
  if (status === 401 || status === 403) return unauthorized(request, status);
  if (status === 404) {
    return new SpaError("HUB_NOT_FOUND", `there is no model ${id} at ${endpoint}${suggestion(id)}`, {
      hint: "give an id as the model's page shows it (organisation/name), or a folder of Hugging Face files",
    });
  }
  return new SpaError("HUB_FAILED", `${endpoint} answered ${status} for ${id} (${revision})`, {
    hint: "check HF_ENDPOINT and the proxy's settings",
  });
}

function suggestion(id: string): string {
  const nearest = nearestName(id, Object.keys(knownModels));
  return nearest ? `; did you mean ${nearest}?` : "";
}

function gated({ id, endpoint, hasToken }: HubRequest): SpaError {
  const token = hasToken
    ? "and use a token of the account that was granted access"
    : `then set HF_TOKEN to a token from ${endpoint}/settings/tokens`;
  return new SpaError(
    "HUB_UNAUTHORIZED",
    `${id} is gated: its authors ask that a licence be accepted first`,
    {
      hint: `accept it at ${endpoint}/${id}, ${token}`,
    },
  );
}

/** Without a right token the Hub does not tell a private model from one that is not there. */
function unauthorized({ id, endpoint, hasToken }: HubRequest, status: number): SpaError {
  const message = hasToken
    ? `${endpoint} refuses ${id} to this token (${status})`
    : `${id} is not at ${endpoint}, or is private${suggestion(id)}`;
  const hint = hasToken
    ? "check that HF_TOKEN is valid and may read this model, and the spelling of the id"
    : `check the spelling of the id; for a private model set HF_TOKEN to a token from ${endpoint}/settings/tokens`;
  return new SpaError("HUB_UNAUTHORIZED", message, { hint });
}

/** What to do where a model is not in the cache and there is no network. */
export function offlineHint(id: string): string {
  return `where there is a network: spa download ${id} (or hf download ${id}), then copy the cache folder here, or give a folder`;
}
