// Many clients at once, good and bad ones: nobody is disturbed, nothing is answered twice, nothing is left behind.
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import { expect, test } from "vitest";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import { serveModel } from "./fixtures.ts";

const served = serveModel({ slots: 8 }, { maxWaiting: 40 });
const client = () => new OpenAI({ baseURL: `${served.server.url}/v1`, apiKey: "none", maxRetries: 0 });
const sampler = () => served.policies.models[0].sampler;

async function idle(): Promise<void> {
  while (sampler().figures.active + sampler().figures.waiting > 0) await sleep(5);
}

function bodyOf(generator: SeededGenerator) {
  const words = ["Up", "Down", "Left", "Right", "P__\n_O_\n__G", "é", "<|im_end|>"];
  const content = Array.from({ length: 1 + generator.integer(20) }, () => generator.choice(words)).join(" ");
  return {
    model: "tiny",
    messages: [{ role: "user" as const, content }],
    max_tokens: 1 + generator.integer(60),
    seed: generator.integer(1000),
    temperature: generator.choice([0, 1, 1, 1.5]),
    n: generator.choice([1, 1, 1, 3]),
    ...(generator.chance(0.3) && { stop: ["a", "e "] }),
  };
}

type Body = ReturnType<typeof bodyOf>;
type Outcome = string[] | "refused";

async function whole(body: Body): Promise<Outcome> {
  try {
    const { choices } = await client().chat.completions.create(body);
    return choices.map(({ message }) => message.content ?? "");
  } catch (error) {
    if (error instanceof OpenAI.RateLimitError) return "refused";
    throw error;
  }
}

/** @param pause milliseconds that the reader takes over each event */
async function streamed(body: Body, pause: number): Promise<Outcome> {
  const texts: string[] = Array.from({ length: body.n }, () => "");
  const ends: number[] = texts.map(() => 0);
  try {
    for await (const { choices } of await client().chat.completions.create({ ...body, stream: true })) {
      for (const { index, delta, finish_reason } of choices) {
        expect(ends[index]).toBe(0);
        texts[index] += delta.content ?? "";
        if (finish_reason !== null) ends[index]++;
      }
      if (pause > 0) await sleep(pause);
    }
  } catch (error) {
    if (error instanceof OpenAI.RateLimitError) return "refused";
    throw error;
  }
  expect(ends).toEqual(texts.map(() => 1));
  return texts;
}

/** Begins a request and hangs up in the middle of the answer. */
async function leaves(body: Body, generator: SeededGenerator): Promise<void> {
  const going = new AbortController();
  const { signal } = going;
  try {
    let left = generator.integer(5);
    const stream = await client().chat.completions.create(
      { ...body, max_tokens: 400, stream: true },
      { signal },
    );
    for await (const _ of stream) {
      if (left-- > 0) continue;
      going.abort();
      // The client's stream does not always end by itself then.
      break;
    }
  } catch (error) {
    if (!(error instanceof OpenAI.APIUserAbortError || error instanceof OpenAI.RateLimitError)) throw error;
  }
}

/** Sends bytes that are no request, or not all of one. @returns what came back */
function sends(text: string, ends: "closes" | "resets"): Promise<string> {
  const { port } = new URL(served.server.url);
  return new Promise((resolve) => {
    let heard = "";
    const socket: Socket = connect(Number(port), "127.0.0.1", () => {
      socket.write(text);
      if (ends === "resets") setTimeout(() => socket.resetAndDestroy(), 20);
    });
    socket.on("data", (data) => {
      heard += data;
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(heard));
  });
}

const post = (length: number, rest: string, type = "application/json") =>
  `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n${rest}`;

const malformed: [text: string, ends: "closes" | "resets", heard: RegExp][] = [
  ["\x00\x01 no HTTP\r\n\r\n", "closes", /^HTTP\/1.1 400/],
  [post(2, "{}"), "closes", /^HTTP\/1.1 400[\s\S]*"param":"messages"/],
  [post(1, "{"), "closes", /^HTTP\/1.1 400[\s\S]*not JSON/],
  [post(4, "null"), "closes", /^HTTP\/1.1 400/],
  [post(2, "{}", "text/plain"), "closes", /^HTTP\/1.1 415/],
  [post(600 * 2 ** 20, "{"), "closes", /^HTTP\/1.1 413/],
  [post(1000, '{"messages": ['), "resets", /^$/],
  [
    `GET /v1/models HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n`,
    "closes",
    /^HTTP\/1.1 403/,
  ],
  [
    `GET /v1/model HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    "closes",
    /^HTTP\/1.1 404[\s\S]*\/v1\/models/,
  ],
  [
    `GET /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    "closes",
    /^HTTP\/1.1 405[\s\S]*allow: POST/,
  ],
  [`GET /${"a".repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, "closes", /^HTTP\/1.1 431/],
];

test("64 clients, slow and vanishing ones among them: every answer is that of the request alone", async () => {
  const generator = new SeededGenerator("load");
  const bodies = Array.from({ length: 64 }, () => bodyOf(generator));
  const seeds = bodies.map((_, index) => new SeededGenerator("client", index));
  const outcomes: { body: Body; outcome: Outcome }[] = [];
  await Promise.all([
    ...bodies.map(async (body, index) => {
      for (let round = 0; round < 4; round++) {
        const kind = (index + round) % 4;
        if (kind === 0) await leaves(body, seeds[index]);
        else {
          const outcome = await (kind === 1 ? whole(body) : streamed(body, kind === 3 ? 5 : 0));
          outcomes.push({ body, outcome });
        }
      }
    }),
    ...malformed.map(async ([text, ends, heard]) => expect(await sends(text, ends)).toMatch(heard)),
  ]);
  await idle();
  const answered = outcomes.filter(({ outcome }) => outcome !== "refused");
  expect(outcomes.length).toBe(64 * 3);
  expect(answered.length).toBeGreaterThan(30);
  const alone = new Map<Body, Outcome>();
  for (const { body } of answered) if (!alone.has(body)) alone.set(body, await whole(body));
  for (const { body, outcome } of answered) expect(outcome).toEqual(alone.get(body));
}, 300_000);

test("a full server refuses at once and says when to come again", async () => {
  const body = { model: "tiny", messages: [{ role: "user" as const, content: "Up" }], max_tokens: 450 };
  const going = new AbortController();
  // Nothing is sampled meanwhile, so that nothing ends.
  let goOn = () => {};
  const held = sampler().between(() => new Promise<void>((resolve) => (goOn = resolve)));
  const holds = client()
    .chat.completions.create({ ...body, n: 48 }, { signal: going.signal })
    .catch((error) => error);
  while (sampler().figures.waiting < 48) await sleep(1);
  const refused = await client()
    .chat.completions.create(body)
    .catch((error) => error);
  expect(refused).toBeInstanceOf(OpenAI.RateLimitError);
  expect([refused.code, refused.headers.get("retry-after")]).toEqual(["queue_full", "1"]);
  going.abort();
  expect(await holds).toBeInstanceOf(OpenAI.APIUserAbortError);
  goOn();
  await held;
  await idle();
  expect(await whole({ ...bodyOf(new SeededGenerator(1)), n: 1 })).toHaveLength(1);
});

test("nothing is left behind: memory, connections and requests are as before", async () => {
  const { engine } = served.policies;
  const generator = new SeededGenerator("again");
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round++)
      await Promise.all(Array.from({ length: 16 }, () => whole(bodyOf(generator))));
    await idle();
    return (await engine.memory()).current;
  };
  const before = await rounds(2);
  expect(await rounds(8)).toBe(before);
  const metrics = await (await fetch(`${served.server.url}/metrics`)).text();
  expect(metrics).toMatch(/spa_running\{model="tiny"\} 0/);
  expect(metrics).not.toMatch(/status="500"/);
});
