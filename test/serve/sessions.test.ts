// Agents that live elsewhere: what is recorded of them is what was sampled, and trains the policy.
import { join } from "node:path";
import OpenAI from "openai";
import { expect, test } from "vitest";
import { createTrainer, trainOnSessions } from "../../lib/index.ts";
import { SessionLog } from "../../lib/run/session-log.ts";
import { sessionTrajectories } from "../../lib/run/session-trajectory.ts";
import { SessionRecorder } from "../../lib/serve/sessions.ts";
import { Role } from "../../lib/text/roles.ts";
import { expectClose, failure, pack } from "../engine/fixtures.ts";
import { serveModel } from "./fixtures.ts";

const sessions = new SessionRecorder();
const served = serveModel({ slots: 8 }, { sessions });
const client = () => new OpenAI({ baseURL: `${served.server.url}/v1`, apiKey: "none", maxRetries: 0 });
const user = (content: string) => ({ role: "user" as const, content });
type Answer = {
  prompt_token_ids: number[];
  choices: { token_ids: number[]; message: { content: string } }[];
};

async function ask(session: string, messages: object[], more: object = {}): Promise<Answer> {
  const body = {
    model: "tiny",
    messages,
    max_tokens: 16,
    return_token_ids: true,
    session_id: session,
    ...more,
  };
  return (await client().chat.completions.create(body as never)) as never;
}

async function post(path: string, body: object): Promise<{ status: number; answer: Record<string, never> }> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${served.server.url}${path}`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  return { status: response.status, answer: (await response.json()) as Record<string, never> };
}

test("a conversation becomes one sequence of exactly the tokens that were seen and sampled", async () => {
  const messages = [user("Up")];
  const first = await ask("walk", messages, { seed: 1 });
  const goesOn = [
    ...messages,
    { role: "assistant", content: first.choices[0].message.content },
    user("Down"),
  ];
  const second = await ask("walk", goesOn, { seed: 2 });
  // Something else in the same session: a sequence of its own.
  const third = await ask("walk", [user("Left")], { seed: 3 });
  const { status, answer } = await post("/v1/rewards", { session_id: "walk", reward: 0.5 });
  expect([status, answer]).toEqual([200, { session_id: "walk", reward: 0.5, calls: 3, tokens: 48 }]);
  const [recorded] = sessions.take();
  expect(recorded).toMatchObject({ model: "tiny", checkpoint: "tiny", temperature: 1, group: null });
  const conversation = [...second.prompt_token_ids, ...second.choices[0].token_ids];
  const other = [...third.prompt_token_ids, ...third.choices[0].token_ids];
  expect(recorded.tokens).toEqual([...conversation, ...other]);
  expect(recorded.segments).toEqual([0, conversation.length]);

  const [trajectory] = sessionTrajectories([recorded]);
  const { tokens, sampled, logProbs, roles, turns, totalReward } = trajectory;
  expect([totalReward, turns.map(({ reward }) => reward)]).toEqual([0.5, [0, 0, 0.5]]);
  const answers = [first, second, third].map(({ choices }) => choices[0].token_ids);
  expect(turns.map(({ begin, end }) => [...tokens.subarray(begin, end)])).toEqual(answers);
  expect([...tokens].filter((_, index) => sampled[index] === 1)).toEqual(answers.flat());
  expect(roles[turns[0].begin - 1]).toBe(Role.template);
  expect(sampled.every((value, index) => value === 0 || roles[index] >= Role.tag)).toBe(true);
  const { model } = served.policies.policy;
  const scored = await model.logProbs({ tokens, offsets: [...recorded.segments, tokens.length] });
  const ofSampled = scored.map((value, index) => value * sampled[index]);
  expectClose(logProbs, ofSampled, 1e-4);
});

test("a session takes one reward, at one temperature, for one choice a call", async () => {
  await ask("once", [user("Up")]);
  for (const [more, status, code] of [
    [{ temperature: 0.5 }, 409, "session_temperature"],
    [{ temperature: 0 }, 400, null],
    [{ n: 2 }, 400, null],
  ] as const) {
    const refused = await ask("once", [user("Up")], more).catch((error) => error);
    expect([refused.status, refused.code]).toEqual([status, code]);
  }
  expect((await post("/v1/rewards", { session_id: "once", reward: 1 })).status).toBe(200);
  for (const [body, status] of [
    [{ session_id: "once", reward: 1 }, 409],
    [{ session_id: "never", reward: 1 }, 404],
    [{ session_id: "once" }, 400],
  ] as const)
    expect((await post("/v1/rewards", body)).status).toBe(status);
  const late = await ask("once", [user("Up")]).catch((error) => error);
  expect([late.status, late.code]).toEqual([409, "session_closed"]);
  expect(sessions.take()).toHaveLength(1);
});

test("a header names the session as well, and a file keeps it for later", async () => {
  const log = new SessionLog(join(served.folder, "sessions.jsonl"));
  const recorder = new SessionRecorder(log);
  const body = { messages: [user("Up")], max_tokens: 8 };
  const headers = { "content-type": "application/json", "x-session-id": "by header" };
  await fetch(`${served.server.url}/v1/chat/completions`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  const recorded = sessions.reward("by header", 2, "some");
  expect(sessions.take()).toEqual([recorded]);
  expect([recorded.reward, recorded.group, recorded.turns.length]).toEqual([2, "some", 1]);
  const { tokens, roles, logProbs, temperature } = recorded;
  const prompt = { tokens: Int32Array.from(tokens.slice(0, 4)), roles: Uint8Array.of(0, 0, 0, 1) };
  const reply = { tokens: Int32Array.of(5), roles: Uint8Array.of(10), logProbs: Float32Array.of(-1) };
  recorder.record("file", { model: "m", checkpoint: "c", temperature, prompt, reply });
  const written = recorder.reward("file", 1, null);
  log.close();
  expect(new SessionLog(log.path).read()).toEqual([written]);
  expect(recorder.take()).toEqual([]);
  expect([roles.length > 0, logProbs.length]).toEqual([true, 8]);
});

test("training on sessions makes what was rewarded likelier, and what was not less likely", async () => {
  const { policy } = served.policies;
  const calls = Array.from({ length: 12 }, (_, index) =>
    ask(`train ${index}`, [user("Up")], { seed: index }),
  );
  const answers = await Promise.all(calls);
  const isEven = ({ choices }: Answer) => choices[0].token_ids[0] % 2 === 0;
  for (const [index, answer] of answers.entries()) {
    const reward = isEven(answer) ? 1 : 0;
    await post("/v1/rewards", { session_id: `train ${index}`, reward, group_id: "up" });
  }
  const recorded = sessions.take();
  expect(recorded).toHaveLength(12);
  const scoreOf = async () => {
    const { tokens, offsets } = pack(recorded.map((session) => session.tokens));
    const logProbs = await policy.model.logProbs({ tokens, offsets });
    return recorded.map(({ turns: [[begin, end]] }, index) =>
      logProbs.subarray(offsets[index] + begin, offsets[index] + end).reduce((sum, value) => sum + value, 0),
    );
  };
  const before = await scoreOf();
  const settings = ["ppo.advantage.estimator=grpo", "ppo.optimizer.learningRate=1e-3", "ppo.epochs=2"];
  const [{ sampler }] = served.policies.models;
  const outcome = await sampler.between(() => trainOnSessions(policy, recorded, { settings }));
  const tokens = answers.reduce((sum, { choices }) => sum + choices[0].token_ids.length, 0);
  expect(outcome).toMatchObject({ sessions: 12, trained: 12, tokens });
  expect(outcome.figures.logprob_difference_max).toBeLessThan(1e-4);
  const after = await scoreOf();
  const moved = (rewarded: boolean) => {
    const own = recorded.flatMap(({ reward }, index) =>
      (reward === 1) === rewarded ? [after[index] - before[index]] : [],
    );
    return own.reduce((sum, value) => sum + value, 0) / own.length;
  };
  expect(moved(true)).toBeGreaterThan(0);
  expect(moved(false)).toBeLessThan(0);
  // What is asked now is answered with the new weights.
  const again = await ask("after", [user("Up")], { seed: 0, logprobs: true });
  const whole = [...again.prompt_token_ids, ...again.choices[0].token_ids];
  const scored = await policy.model.logProbs({ tokens: whole, offsets: [0, whole.length] });
  const { content } = (again.choices[0] as unknown as { logprobs: { content: { logprob: number }[] } })
    .logprobs;
  const told = content.map(({ logprob }) => logprob);
  expectClose(told, scored.subarray(again.prompt_token_ids.length), 1e-4);

  await using critic = await policy.model.clone({ valueHead: true });
  await using trainer = createTrainer(policy.model, { critic });
  await failure(trainOnSessions(policy, recorded, { trainer }), "BAD_ARGUMENT");
  await failure(trainOnSessions(policy, []), "BAD_ARGUMENT");
  const mixed = [recorded[0], { ...recorded[1], temperature: 0.7 }];
  expect((await failure(trainOnSessions(policy, mixed), "BAD_ARGUMENT")).message).toContain("0.7");
  const damaged = { ...recorded[0], logProbs: [] };
  await failure(trainOnSessions(policy, [damaged]), "BAD_ARGUMENT");
});
