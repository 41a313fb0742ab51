import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request that the server has seen. */
export interface SeenRequest {
  path: string;
  range: string | undefined;
  authorization: string | undefined;
  /** Bytes of content that were sent. */
  sent: number;
}

/** What goes wrong with a request: another status, an answer that breaks off, or other content of the same length. */
export interface Fault {
  status?: number;
  headers?: Record<string, string>;
  cutAfter?: number;
  /** With `cutAfter`: the connection stays open, and nothing more comes. */
  stalls?: boolean;
  content?: Uint8Array;
  ignoreRange?: boolean;
}

/** Files that the Hub keeps as LFS objects. */
const isLfs = (path: string) => path.endsWith(".safetensors") || path === "tokenizer.json";

function etagOf(path: string, content: Uint8Array): string {
  return isLfs(path)
    ? createHash("sha256").update(content).digest("hex")
    : createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

/**
 * A Hub with one repository on a local port, with the routes and headers of huggingface.co: revisions, file lists,
 * files, and LFS objects on another origin to which it redirects.
 */
export class TinyHub implements AsyncDisposable {
  readonly requests: SeenRequest[] = [];
  readonly files: Map<string, Uint8Array>;
  /** Commits by branch or tag. */
  readonly refs = new Map([["main", "1".repeat(40)]]);
  /** Sizes that the file list tells in place of the true ones. */
  readonly listedSizes = new Map<string, number>();
  /** Where the file list says that it goes on. */
  nextPage: string | undefined;
  /** Looked up with each request; the first part of the path that is there decides. */
  fault: (request: SeenRequest) => Fault | undefined = () => undefined;
  readonly #id: string;
  readonly #server: Server;

  private constructor(id: string, files: Record<string, Uint8Array>) {
    this.#id = id;
    this.files = new Map(Object.entries(files));
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(id: string, files: Record<string, Uint8Array>): Promise<TinyHub> {
    const hub = new TinyHub(id, files);
    await new Promise<void>((resolve) => hub.#server.listen(0, "127.0.0.1", resolve));
    return hub;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get commit(): string {
    return this.refs.get("main")!;
  }

  etag(path: string): string {
    return etagOf(path, this.files.get(path)!);
  }

  /** Content bytes sent for files so far. */
  get bytesSent(): number {
    return this.requests.reduce((sum, { path, sent }) => (path.startsWith("/api/") ? sum : sum + sent), 0);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname: path } = new URL(request.url!, this.endpoint);
    const { range, authorization } = request.headers;
    const seen: SeenRequest = { path, range, authorization, sent: 0 };
    this.requests.push(seen);
    const fault = this.fault(seen);
    if (fault?.status !== undefined) {
      response.writeHead(fault.status, fault.headers).end("{}");
      return;
    }
    const [, api, kind, ...rest] = path.split("/");
    const prefix = `/${this.#id}/resolve/`;
    if (api === "api" && kind === "models") this.#api(rest, response);
    else if (path.startsWith(prefix)) this.#resolve(path.slice(prefix.length), seen, fault, response);
    else if (api === "cdn") this.#object(kind, seen, fault, response);
    else notFound(response, "RepoNotFound");
  }

  #api([organisation, name, verb, revision, ...inside]: string[], response: ServerResponse): void {
    const commit = this.#commitOf(decodeURIComponent(revision));
    if (`${organisation}/${name}` !== this.#id) {
      notFound(response, "RepoNotFound");
      return;
    }
    if (commit === undefined) {
      notFound(response, "RevisionNotFound");
      return;
    }
    if (verb === "revision") {
      const info = {
        _id: "1",
        id: this.#id,
        sha: commit,
        private: false,
        downloads: 0,
        gated: false,
        likes: 0,
      };
      json(response, { ...info, lastModified: "2025-01-01T00:00:00.000Z" });
    } else {
      const folder = inside.map((part) => `${decodeURIComponent(part)}/`).join("");
      const within = [...this.files].filter(([path]) => path.startsWith(folder));
      const isHere = (path: string) => !path.slice(folder.length).includes("/");
      const folders = within
        .filter(([path]) => !isHere(path))
        .map(([path]) => path.slice(0, path.indexOf("/", folder.length)));
      const files = within
        .filter(([path]) => isHere(path))
        .map(([path, content]) => {
          const size = this.listedSizes.get(path) ?? content.length;
          const oid = etagOf(path, content);
          const pointer = { type: "file", path, size, oid: isLfs(path) ? "0".repeat(40) : oid };
          return isLfs(path) ? { ...pointer, lfs: { oid, size, pointerSize: 134 } } : pointer;
        });
      const directories = [...new Set([...folders, ...(folder === "" ? ["original"] : [])])];
      if (this.nextPage !== undefined) response.setHeader("link", `<${this.nextPage}>; rel="next"`);
      json(response, [
        ...files,
        ...directories.map((path) => ({ type: "directory", path, oid: "2".repeat(40), size: 0 })),
      ]);
    }
  }

  #commitOf(revision: string): string | undefined {
    return [...this.refs.values()].includes(revision) ? revision : this.refs.get(revision);
  }

  #resolve(rest: string, seen: SeenRequest, fault: Fault | undefined, response: ServerResponse): void {
    const [revision, ...parts] = rest.split("/");
    const path = decodeURIComponent(parts.join("/"));
    const content = this.files.get(path);
    const commit = this.#commitOf(revision);
    if (content === undefined || commit === undefined) {
      notFound(response, "EntryNotFound");
      return;
    }
    const headers = { "x-repo-commit": commit };
    if (isLfs(path)) {
      const etag = etagOf(path, content);
      // Another origin than the endpoint's: a token must not be sent there.
      const location = `http://localhost:${this.port}/cdn/${etag}`;
      response
        .writeHead(302, {
          ...headers,
          location,
          "x-linked-etag": `"${etag}"`,
          "x-linked-size": content.length,
        })
        .end();
    } else {
      send(response, content, seen, fault, { ...headers, etag: `"${etagOf(path, content)}"` });
    }
  }

  #object(etag: string, seen: SeenRequest, fault: Fault | undefined, response: ServerResponse): void {
    const found = [...this.files].find(([path, content]) => etagOf(path, content) === etag);
    if (!found) {
      notFound(response, "EntryNotFound");
      return;
    }
    send(response, found[1], seen, fault, { etag: `"${etag}"` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function json(response: ServerResponse, content: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(content));
}

function notFound(response: ServerResponse, code: string): void {
  response.writeHead(404, { "x-error-code": code }).end();
}

function send(
  response: ServerResponse,
  file: Uint8Array,
  seen: SeenRequest,
  fault: Fault | undefined,
  headers: Record<string, string>,
): void {
  const content = fault?.content ?? file;
  const begin = fault?.ignoreRange ? 0 : Number(/^bytes=(\d+)-$/.exec(seen.range ?? "")?.[1] ?? 0);
  const length = content.length - begin;
  const range =
    begin > 0 ? { "content-range": `bytes ${begin}-${content.length - 1}/${content.length}` } : {};
  response.writeHead(begin > 0 ? 206 : 200, { ...headers, ...range, "content-length": length });
  const part = content.subarray(begin, begin + Math.min(length, fault?.cutAfter ?? length));
  seen.sent = part.length;
  if (part.length === length) response.end(part);
  else response.write(part, () => fault?.stalls || response.destroy());
}
