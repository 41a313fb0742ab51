import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { HttpError } from "./http-error.ts";

/** Bytes of a request's body: a context's tokens as JSON, many times over. */
const LONGEST_BODY = 4 * 2 ** 20;

/** A request's JSON. @throws HttpError 400, 413, 415 */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  // Pages of other origins can send other types without being asked; this one needs a permission that is never given.
  const type = request.headers["content-type"]?.split(";")[0].trim().toLowerCase();
  if (type !== "application/json") {
    throw new HttpError(415, "the body must be JSON, with content-type: application/json");
  }
  const declared = Number(request.headers["content-length"] ?? 0);
  const chunks: Buffer[] = [];
  let length = declared > LONGEST_BODY ? declared : 0;
  try {
    for await (const chunk of length === 0 ? (request as AsyncIterable<Buffer>) : []) {
      length += chunk.length;
      if (length > LONGEST_BODY) break;
      chunks.push(chunk);
    }
  } catch {
    throw new HttpError(499, "the client has gone");
  }
  if (length > LONGEST_BODY) throw new HttpError(413, `a request has at most ${LONGEST_BODY} bytes`);
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    throw new HttpError(400, `the body is not JSON: ${(error as Error).message}`);
  }
}

/** Answers with JSON, or with text where it is one; nothing where the client has gone. */
export function answer(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.destroyed || response.headersSent) return;
  // What has not been read of a request is not read any more.
  const rest: Record<string, string> = response.req.complete ? {} : { connection: "close" };
  const isText = typeof body === "string";
  const type = isText ? "text/plain; charset=utf-8" : "application/json";
  response.writeHead(status, { "content-type": type, ...rest, ...headers });
  response.end(isText ? body : JSON.stringify(body));
}

/** Refuses requests without the key. @throws HttpError 401 */
export function checkKey(request: IncomingMessage, key: string | undefined): void {
  if (key === undefined) return;
  const given = /^Bearer (.+)$/i.exec(request.headers.authorization ?? "")?.[1] ?? "";
  const digest = (text: string) => createHash("sha256").update(text).digest();
  if (timingSafeEqual(digest(given), digest(key))) return;
  throw new HttpError(401, "the API key is missing or wrong: authorization: Bearer <key>", {
    code: "invalid_api_key",
    headers: { "www-authenticate": "Bearer" },
  });
}

const loopback = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** Whether an address is this machine's own. */
export function isLoopback(host: string): boolean {
  return loopback.has(host) || host === "::1";
}

/**
 * Refuses requests to a server on loopback under another name: a page whose name has been made to lead here (DNS rebinding).
 *
 * @throws HttpError 403
 */
export function checkHost(request: IncomingMessage): void {
  const name = (request.headers.host ?? "").replace(/:\d+$/, "").toLowerCase();
  if (loopback.has(name)) return;
  throw new HttpError(403, "this server answers to localhost alone", { code: "wrong_host" });
}
