import { z } from "zod";
import type { Message } from "../text/chat-template.ts";
import { HttpError } from "./http-error.ts";

/** Choices of one request, over all its prompts. */
const MOST_CHOICES = 128;
const MOST_STOPS = 16;

const stop = z
  .union([z.string().min(1), z.array(z.string().min(1)).max(MOST_STOPS)])
  .nullish()
  .transform((value) => (typeof value === "string" ? [value] : (value ?? [])));

/** What both ways to complete have in common. Fields that change nothing here are passed over; those that would are refused. */
const sampling = {
  model: z.string().nullish(),
  max_tokens: z.int().min(1).nullish(),
  n: z.int().min(1).max(MOST_CHOICES).nullish(),
  seed: z
    .int()
    .nullish()
    .transform((value) => value ?? undefined),
  stop,
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  temperature: z.number().min(0).max(100).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(-1).nullish(),
  stop_token_ids: z.array(z.int().min(0)).max(MOST_STOPS).nullish(),
  ignore_eos: z.boolean().nullish(),
  return_token_ids: z.boolean().nullish(),
  session_id: z.string().min(1).max(256).nullish(),
  frequency_penalty: z.literal(0).nullish(),
  presence_penalty: z.literal(0).nullish(),
  logit_bias: z.record(z.string(), z.never()).nullish(),
};

const textPart = z.object({ type: z.literal("text"), text: z.string() });
const content = z
  .union([z.string(), z.array(textPart)])
  .transform((value) => (typeof value === "string" ? value : value.map(({ text }) => text).join("")));

const message = z
  .object({ role: z.enum(["system", "developer", "user", "assistant"]), content })
  .transform(({ role, content: text }): Message => {
    return { role: role === "developer" ? "system" : role, content: text };
  });

const chatSchema = z.object({
  ...sampling,
  messages: z.array(message).min(1),
  max_completion_tokens: z.int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.literal(0).nullish(),
  tools: z.array(z.never()).nullish(),
  tool_choice: z.enum(["none", "auto"]).nullish(),
  response_format: z.object({ type: z.literal("text") }).nullish(),
});

const completionSchema = z.object({
  ...sampling,
  prompt: z.union([
    z.string(),
    z.array(z.string()).min(1),
    z.array(z.int().min(0)).min(1),
    z.array(z.array(z.int().min(0)).min(1)).min(1),
  ]),
  logprobs: z.literal(0).nullish(),
  echo: z.literal(false).nullish(),
  best_of: z.literal(1).nullish(),
  suffix: z.literal("").nullish(),
});

/** What is asked of the model, whichever way. */
export interface GenerationRequest {
  kind: "chat" | "completion";
  model: string | undefined;
  /** Messages, or texts and token ids to go on from. */
  prompts: (readonly Message[] | string | readonly number[])[];
  /** Undefined: as many as there is room for. */
  maxTokens: number | undefined;
  /** Choices of each prompt. */
  n: number;
  seed: number | undefined;
  stop: string[];
  stopTokens: number[];
  ignoreEnd: boolean;
  stream: boolean;
  streamUsage: boolean;
  temperature: number;
  topP: number;
  topK: number;
  logProbs: boolean;
  tokenIds: boolean;
  session: string | undefined;
}

/** New tokens of a completion where nobody says how many, as OpenAI has it. */
const COMPLETION_TOKENS = 16;

/** @throws HttpError 400, which names the field */
export function readChat(body: unknown): GenerationRequest {
  const checked = check(chatSchema, body);
  return {
    ...commonOf(checked),
    kind: "chat",
    prompts: [checked.messages],
    maxTokens: checked.max_completion_tokens ?? checked.max_tokens ?? undefined,
    logProbs: checked.logprobs ?? false,
  };
}

/** @throws HttpError 400, which names the field */
export function readCompletion(body: unknown): GenerationRequest {
  const checked = check(completionSchema, body);
  const request: GenerationRequest = {
    ...commonOf(checked),
    kind: "completion",
    prompts: promptsOf(checked.prompt),
    maxTokens: checked.max_tokens ?? COMPLETION_TOKENS,
    logProbs: typeof checked.logprobs === "number",
  };
  if (request.prompts.length * request.n > MOST_CHOICES) {
    const message = `${request.prompts.length} prompts with ${request.n} choices each are more than ${MOST_CHOICES}`;
    throw new HttpError(400, message, { param: "prompt" });
  }
  return request;
}

function promptsOf(prompt: z.infer<typeof completionSchema>["prompt"]): GenerationRequest["prompts"] {
  if (typeof prompt === "string") return [prompt];
  if (typeof prompt[0] === "number") return [prompt as number[]];
  return prompt as (string | number[])[];
}

const rewardSchema = z.object({
  session_id: z.string().min(1).max(256),
  reward: z.number(),
  group_id: z.string().min(1).max(256).nullish(),
});

/** What a session has earned. */
export interface RewardRequest {
  session: string;
  reward: number;
  group: string | null;
}

/** @throws HttpError 400, which names the field */
export function readReward(body: unknown): RewardRequest {
  const { session_id: session, reward, group_id: group = null } = check(rewardSchema, body);
  return { session, reward, group };
}

type Common = z.infer<z.ZodObject<typeof sampling>>;

function commonOf(body: Common): Omit<GenerationRequest, "kind" | "prompts" | "maxTokens" | "logProbs"> {
  return {
    model: body.model ?? undefined,
    n: body.n ?? 1,
    seed: body.seed,
    stop: body.stop,
    stopTokens: body.stop_token_ids ?? [],
    ignoreEnd: body.ignore_eos ?? false,
    stream: body.stream ?? false,
    streamUsage: body.stream_options?.include_usage ?? false,
    temperature: body.temperature ?? 1,
    topP: body.top_p ?? 1,
    topK: Math.max(0, body.top_k ?? 0),
    tokenIds: body.return_token_ids ?? false,
    session: body.session_id ?? undefined,
  };
}

/** What this server cannot do, in words: a validator's "expected 0" would not say so. */
const lacking: Readonly<Record<string, string>> = {
  frequency_penalty: "penalties are not supported; only 0 is taken",
  presence_penalty: "penalties are not supported; only 0 is taken",
  logit_bias: "biases are not supported",
  top_logprobs: "log-probs are those of the sampled tokens alone; only 0 is taken",
  tools: "tools are not supported",
  tool_choice: "tools are not supported",
  response_format: "only text is supported",
  echo: "echo is not supported",
  best_of: "best_of is not supported; only 1 is taken",
  suffix: "suffix is not supported",
};

/** A body of the right shape. @throws HttpError 400 */
function check<T>(schema: z.ZodType<T>, body: unknown): T {
  const checked = schema.safeParse(body);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  const param = issue.path.map(String).join(".");
  const [field = ""] = issue.path;
  const alone = field === "logprobs" ? lacking.top_logprobs : lacking[String(field)];
  throw new HttpError(400, `${param || "the body"}: ${alone ?? issue.message}`, {
    ...(param !== "" && { param }),
  });
}
