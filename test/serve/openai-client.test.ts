// The API as OpenAI's own client drives it.
import OpenAI from "openai";
import { expect, test } from "vitest";
import { nanoTokenizer, PolicyServer } from "../../lib/index.ts";
import { expectClose, failure } from "../engine/fixtures.ts";
import { serveModel } from "./fixtures.ts";

const apiKey = "sesame";
const served = serveModel({ slots: 4 }, { apiKey });
const tokenizer = nanoTokenizer();
const client = (key = apiKey) =>
  new OpenAI({ baseURL: `${served.server.url}/v1`, apiKey: key, maxRetries: 0 });
const user = (content: string) => ({ role: "user" as const, content });
const ask = { model: "tiny", messages: [user("Predict the next state and act:\nP__\n_O_\n__G")] };

test("models are listed and described", async () => {
  const { data } = await client().models.list();
  expect(data).toEqual([
    expect.objectContaining({ id: "tiny", object: "model", max_model_len: 512, checkpoint: "tiny" }),
  ]);
  expect(await client().models.retrieve("tiny")).toEqual(data[0]);
  await expect(client().models.retrieve("tony")).rejects.toMatchObject({
    status: 404,
    code: "model_not_found",
    message: expect.stringContaining('did you mean "tiny"?'),
  });
});

test("a conversation is answered, with usage, and the same again for the same seed", async () => {
  const body = { ...ask, seed: 5, max_tokens: 20 };
  const one = await client().chat.completions.create(body);
  expect(one).toMatchObject({ object: "chat.completion", model: "tiny", system_fingerprint: "tiny" });
  expect(one.choices).toHaveLength(1);
  const [{ message, finish_reason }] = one.choices;
  expect([message.role, finish_reason]).toEqual(["assistant", "length"]);
  const { prompt_tokens, completion_tokens, total_tokens } = one.usage!;
  expect([completion_tokens, total_tokens]).toEqual([20, prompt_tokens + 20]);
  const two = await client().chat.completions.create(body);
  expect(two.choices).toEqual(one.choices);
  expect(two.id).not.toBe(one.id);
  const other = await client().chat.completions.create({ ...body, seed: 6 });
  expect(other.choices[0].message.content).not.toBe(message.content);
});

test("a stream has the text of the whole answer, piece by piece, and usage where it is asked for", async () => {
  const body = { ...ask, seed: 5, max_tokens: 60, n: 3 };
  const whole = await client().chat.completions.create(body);
  const stream = await client().chat.completions.create({
    ...{ ...body, stream: true as const, stream_options: { include_usage: true } },
  });
  const texts = ["", "", ""];
  const finishes: unknown[] = [];
  const usages: unknown[] = [];
  let events = 0;
  for await (const { choices, usage } of stream) {
    events++;
    for (const { index, delta, finish_reason } of choices) {
      texts[index] += delta.content ?? "";
      if (finish_reason !== null) finishes[index] = finish_reason;
    }
    if (usage) usages.push({ ...usage, choices });
  }
  expect(texts).toEqual(whole.choices.map(({ message }) => message.content));
  expect(finishes).toEqual(["length", "length", "length"]);
  const { prompt_tokens_details: _, ...counts } = whole.usage!;
  expect(usages).toEqual([expect.objectContaining({ ...counts, choices: [] })]);
  expect(events).toBeGreaterThan(8);
  expect(new Set(texts).size).toBe(3);
});

test("stop texts end a reply and are not in it", async () => {
  const body = { ...ask, seed: 5, max_tokens: 60 };
  const [{ message }] = (await client().chat.completions.create(body)).choices;
  const text = message.content!;
  const stop = [...text.slice(8)]
    .filter((letter) => letter !== "\ufffd")
    .slice(0, 2)
    .join("");
  expect(stop.length).toBeGreaterThan(0);
  const [stopped] = (await client().chat.completions.create({ ...body, stop: ["\0", stop] })).choices;
  expect(stopped).toMatchObject({ finish_reason: "stop", stop_reason: stop });
  expect(stopped.message.content).toBe(text.slice(0, text.indexOf(stop)));
});

test("token ids go in and out, with the log-probs that the model gives them", async () => {
  const prompt = [...tokenizer.encode("<|im_start|>user\nUp<|im_end|>\n")];
  const body = { model: "tiny", prompt, max_tokens: 12, seed: 1, logprobs: 0, return_token_ids: true };
  const { choices } = await client().completions.create(body);
  const [choice] = choices as unknown as {
    text: string;
    token_ids: number[];
    prompt_token_ids: number[];
    logprobs: { tokens: string[]; token_logprobs: number[]; text_offset: number[] };
  }[];
  expect(choice.prompt_token_ids).toEqual(prompt);
  expect(choice.token_ids).toHaveLength(12);
  const tokens = [...prompt, ...choice.token_ids];
  const [{ sampler }] = served.policies.models;
  const scored = await sampler.model.logProbs({ tokens, offsets: [0, tokens.length] });
  expectClose(choice.logprobs.token_logprobs, scored.subarray(prompt.length), 1e-4);
  expect(choice.logprobs.tokens).toEqual(choice.token_ids.map((id) => tokenizer.decode([id])));
  expect(choice.logprobs.text_offset[0]).toBe(0);

  const chat = await client().chat.completions.create({
    ...{ ...ask, max_tokens: 12, seed: 1, logprobs: true, return_token_ids: true },
  } as Parameters<ReturnType<typeof client>["chat"]["completions"]["create"]>[0] & { stream?: false });
  const { prompt_token_ids, choices: replies } = chat as unknown as {
    prompt_token_ids: number[];
    choices: {
      token_ids: number[];
      logprobs: { content: { token: string; logprob: number; bytes: number[] }[] };
    }[];
  };
  const [reply] = replies;
  const all = [...prompt_token_ids, ...reply.token_ids];
  const behind = await sampler.model.logProbs({ tokens: all, offsets: [0, all.length] });
  expectClose(
    reply.logprobs.content.map(({ logprob }) => logprob),
    behind.subarray(prompt_token_ids.length),
    1e-4,
  );
  expect(reply.logprobs.content.map(({ bytes }) => bytes)).toEqual(
    reply.token_ids.map((id) => [...tokenizer.bytesOf(id)]),
  );
});

test("several prompts are several choices, streamed or not", async () => {
  const body = { model: "tiny", prompt: ["Up", "Down"], n: 2, max_tokens: 5, seed: 2 };
  const { choices, usage } = await client().completions.create(body);
  expect(choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
  expect(usage?.completion_tokens).toBe(20);
  const texts = ["", "", "", ""];
  for await (const event of await client().completions.create({ ...body, stream: true }))
    for (const { index, text } of event.choices) texts[index] += text;
  expect(texts).toEqual(choices.map(({ text }) => text));
});

test("a conversation that goes on keeps the tokens that were sampled, and finds their cache", async () => {
  const ids = { return_token_ids: true } as object;
  const first = await client().chat.completions.create({ ...ask, ...ids, max_tokens: 40, seed: 9 });
  const sampled = first.choices[0] as unknown as { token_ids: number[]; message: { content: string } };
  const { prompt_token_ids } = first as unknown as { prompt_token_ids: number[] };
  const messages = [
    ...ask.messages,
    { role: "assistant" as const, content: sampled.message.content },
    user("Up"),
  ];
  const second = await client().chat.completions.create({ model: "tiny", messages, ...ids, max_tokens: 5 });
  const prompt = (second as unknown as { prompt_token_ids: number[] }).prompt_token_ids;
  const before = [...prompt_token_ids, ...sampled.token_ids];
  expect(prompt.slice(0, before.length)).toEqual(before);
  expect(second.usage?.prompt_tokens_details?.cached_tokens).toBe(before.length);
  // Nobody has said this: it is encoded.
  const other = [...ask.messages, { role: "assistant" as const, content: "Down" }, user("Up")];
  const third = await client().chat.completions.create({
    model: "tiny",
    messages: other,
    ...ids,
    max_tokens: 5,
  });
  const text = tokenizer.decode((third as unknown as { prompt_token_ids: number[] }).prompt_token_ids);
  expect(text).toContain("<|im_start|>assistant\nDown<|im_end|>\n<|im_start|>user\nUp<|im_end|>");
});

test("what cannot be done is refused by field, in OpenAI's form", async () => {
  const create = (body: object) => client().chat.completions.create({ ...ask, ...body });
  for (const [body, param, message] of [
    [{ temperature: -1 }, "temperature", "temperature"],
    [{ messages: [] }, "messages", "messages"],
    [{ messages: [{ role: "tool", content: "" }] }, "messages.0.role", "role"],
    [
      { messages: [user("a"), { role: "system", content: "b" }] },
      null,
      "system message can only be the first",
    ],
    [{ presence_penalty: 1 }, "presence_penalty", "penalties are not supported"],
    [{ top_logprobs: 2, logprobs: true }, "top_logprobs", "sampled tokens alone"],
    [{ tools: [{ type: "function", function: { name: "f" } }] }, "tools.0", "tools are not supported"],
    [{ response_format: { type: "json_object" } }, "response_format.type", "only text"],
    [{ n: 0 }, "n", "n"],
    [{ messages: [user("P".repeat(600))] }, null, "passes the limit of 512"],
  ] as const) {
    const failed = create(body).catch((error) => error);
    const error = await failed;
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect([error.param, error.type, error.message]).toEqual([
      param,
      "invalid_request_error",
      expect.stringContaining(message),
    ]);
  }
  await expect(create({ stream: true, messages: [user("P".repeat(600))] })).rejects.toMatchObject({
    status: 400,
  });
  await expect(create({ model: "other" })).rejects.toMatchObject({ status: 404, param: "model" });
  await expect(client("wrong").models.list()).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
});

test("a client that goes takes its request with it", async () => {
  const [{ sampler }] = served.policies.models;
  const going = new AbortController();
  const stream = await client().chat.completions.create(
    { ...ask, stream: true, max_tokens: 480, n: 4 },
    { signal: going.signal },
  );
  for await (const _ of stream) if (sampler.figures.active === 4) break;
  going.abort();
  while (sampler.figures.active > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const metrics = await (
    await fetch(`${served.server.url}/metrics`, { headers: { authorization: `Bearer ${apiKey}` } })
  ).text();
  expect(metrics).toMatch(/spa_requests_total\{route="\/v1\/chat\/completions",status="499"\} 1/);
  expect(metrics).toMatch(/spa_running\{model="tiny"\} 0/);
  expect(metrics).toMatch(/spa_slots\{model="tiny"\} 4/);
});

test("a server that others could reach needs a key, and a port of its own", async () => {
  const { models } = served.policies;
  const open = await failure(PolicyServer.start({ models, port: 0, host: "0.0.0.0" }), "BAD_ARGUMENT");
  expect(open.message).toContain("there is no API key");
  const port = Number(new URL(served.server.url).port);
  const taken = await failure(PolicyServer.start({ models, port }), "BAD_ARGUMENT");
  expect(taken.message).toContain("the port is taken");
  await failure(PolicyServer.start({ models: [], port: 0 }), "BAD_ARGUMENT");
});
