// Who may speak with the page's server: whoever knows the address with its token, and with a password where other machines can
// reach it. Names that lead elsewhere (DNS rebinding), pages of other origins and frames are refused.

import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { isIP } from "node:net";

export interface Access {
  token: string;
  /** Where the server listens. */
  host: string;
  port: number;
  password: string | undefined;
}

/** Scripts, styles and data come from this server alone, and nothing in the page is a script. */
export const securityHeaders: OutgoingHttpHeaders = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store",
};

/** Why a request is refused, as an HTTP status; undefined where it is not. */
export function refusal(request: IncomingMessage, access: Access): number | undefined {
  const { host, origin, authorization } = request.headers;
  if (!isOwnHost(host, access)) return 421;
  if (origin !== undefined && origin !== `http://${host}`) return 403;
  if (request.headers["sec-fetch-site"] === "cross-site") return 403;
  if (access.password !== undefined && !isPassword(authorization, access.password)) return 401;
  const [, token = ""] = (request.url ?? "").split("/");
  return equal(token, access.token) ? undefined : 404;
}

/** Whether the name by which the browser speaks is this machine's address, not some name that leads to it. */
function isOwnHost(header: string | undefined, { host, port }: Access): boolean {
  const [, name, given = "80"] = /^(.*?)(?::(\d+))?$/.exec(header ?? "") ?? [];
  if (Number(given) !== port) return false;
  const bare = name.replace(/^\[(.*)\]$/, "$1");
  return bare === "localhost" || bare === host || isIP(bare) !== 0;
}

function isPassword(header: string | undefined, password: string): boolean {
  const [, encoded = ""] = /^Basic (.+)$/i.exec(header ?? "") ?? [];
  const text = Buffer.from(encoded, "base64").toString();
  return equal(text.slice(text.indexOf(":") + 1), password);
}

/** Comparison in a time that says nothing of where texts differ. */
function equal(left: string, right: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(left), digest(right));
}
