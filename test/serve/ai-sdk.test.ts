// The API as Vercel's AI SDK drives it through its provider for servers like OpenAI's.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import { expect, test } from "vitest";
import { serveModel } from "./fixtures.ts";

const served = serveModel({ slots: 2 });
const model = () =>
  createOpenAICompatible({ name: "spa", baseURL: `${served.server.url}/v1`, includeUsage: true })("tiny");

test("text is generated and streamed alike, with usage and reasons to end", async () => {
  const settings = { system: "Think and act.", prompt: "P__\n_O_\n__G", seed: 4, maxOutputTokens: 30 };
  const whole = await generateText({ model: model(), ...settings });
  const { finishReason, usage } = whole;
  expect(usage.outputTokens).toBeGreaterThan(0);
  const stream = streamText({ model: model(), ...settings });
  let text = "";
  for await (const part of stream.textStream) text += part;
  expect(text).toBe(whole.text);
  expect([await stream.finishReason, await stream.usage]).toMatchObject([
    finishReason,
    { inputTokens: usage.inputTokens, outputTokens: usage.outputTokens },
  ]);
});

test("a conversation goes on over several calls", async () => {
  const messages: { role: "user" | "assistant"; content: string }[] = [{ role: "user", content: "Up" }];
  for (const next of ["Down", "Left"]) {
    const { text } = await generateText({ model: model(), messages, maxOutputTokens: 20, seed: 1 });
    messages.push({ role: "assistant", content: text }, { role: "user", content: next });
  }
  const last = await generateText({ model: model(), messages, maxOutputTokens: 20, seed: 1 });
  expect(last.usage.inputTokenDetails?.cacheReadTokens ?? last.usage.cachedInputTokens).toBeGreaterThan(40);
});

test("errors reach the program with what the server says", async () => {
  const failed = generateText({ model: model(), prompt: "Up", presencePenalty: 1, maxRetries: 0 });
  await expect(failed).rejects.toThrow("penalties are not supported");
});
